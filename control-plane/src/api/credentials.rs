//! The credentials of a consumer: made, listed, exchanged and revoked, each a change of the consumer like any other.
//!
//! A key is made here and told once, in the answer to its making; what is committed is its digest. Of two who change one
//! consumer none undoes what the other did, for a plan works on what is there.

mod spec;

use super::{
    call::Call,
    form::{Tag, of_revision, time_text},
    problem::Problem,
    query::{NONE, WRITE},
    resources::{existing_key, read_whole},
    write::{Write, Written, refused},
};
use crate::{access::token, commit::Refusal};
use aws_lc_rs::rand;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use proto::{
    consumer::{CREDENTIALS, document},
    identity::hex,
    invalid::Invalid,
    json, keyring,
    resource::{Change, Kind, Resource, ResourceKey},
    snapshot::{Entry, Snapshot},
};
use serde_json::{Value, json};
use spec::Spec;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A key that is about to be made, and what goes with it.
#[derive(Clone)]
struct Made {
    id: String,
    key: String,
    spec: Spec,
    // For the keyring, if there is none.
    pepper: String,
    now: OffsetDateTime,
}

/// `GET /v1/consumers/{name}/credentials`: in the order in which they were made.
pub(crate) async fn list(name: String, call: Call) -> Result<Response, Problem> {
    read(&name, &call, |entry| Ok(json!({ CREDENTIALS: credentials_of(entry) })))
}

/// `GET /v1/consumers/{name}/credentials/{credential}`.
pub(crate) async fn get((name, id): (String, String), call: Call) -> Result<Response, Problem> {
    read(&name, &call, |entry| {
        let mut credentials = credentials_of(entry);
        let at = place_of(&credentials, &id).ok_or_else(|| missing(&name, &id))?;
        Ok(credentials.swap_remove(at))
    })
}

/// `POST /v1/consumers/{name}/credentials`.
pub(crate) async fn create(name: String, call: Call, body: Body) -> Result<Response, Problem> {
    let key = existing_key(Kind::Consumer, &name)?;
    make(call, key, body, Spec::read, |_, _| Ok(())).await
}

/// `POST /v1/consumers/{name}/credentials/{credential}/rotate`: the one goes on for a while, and another one is made.
pub(crate) async fn rotate((name, old): (String, String), call: Call, body: Body) -> Result<Response, Problem> {
    let key = existing_key(Kind::Consumer, &name)?;
    make(call, key, body, Spec::read_rotation, move |credentials, made| {
        let at = place_of(credentials, &old).ok_or_else(|| missing(&name, &old))?;
        let old = &mut credentials[at];
        if made.spec.labels.is_none() {
            made.spec.labels = old.get("labels").cloned();
        }
        let end = made.now + made.spec.overlap;
        if end <= made.now {
            credentials.remove(at);
            return Ok(());
        }
        let ends_before = |text: &str| OffsetDateTime::parse(text, &Rfc3339).is_ok_and(|earlier| earlier <= end);
        if !old["expires_at"].as_str().is_some_and(ends_before) {
            old["expires_at"] = second_text(end).into();
        }
        Ok(())
    })
    .await
}

/// `DELETE /v1/consumers/{name}/credentials/{credential}`.
pub(crate) async fn revoke((name, id): (String, String), call: Call) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let key = existing_key(Kind::Consumer, &name)?;
    let conditions = write.conditions.clone();
    let written = write.commit(
        &call,
        |_| None,
        move |snapshot| {
            let entry = found(snapshot, &key)?;
            conditions.check(Some(entry.leaf))?;
            changed(entry, snapshot, |credentials| {
                let at = place_of(credentials, &id).ok_or_else(|| missing(&name, &id))?;
                credentials.remove(at);
                Ok(())
            })
            .map(|consumer| vec![Change::Put(consumer)])
        },
    );
    Ok(written.await?.answer(&call, StatusCode::NO_CONTENT.into_response()))
}

// What making a key and exchanging one have in common; `before` is what happens to the others.
async fn make(
    call: Call,
    key: ResourceKey,
    body: Body,
    understand: fn(&Value, OffsetDateTime) -> Result<Spec, Vec<Invalid>>,
    before: impl Fn(&mut Vec<Value>, &mut Made) -> Result<(), Refusal> + Send + Sync + 'static,
) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let (value, _) = call.document(body).await?;
    let now = OffsetDateTime::now_utc();
    let made = Made::new(understand(&value, now).map_err(|faults| Problem::invalid_fields(&faults))?, now)?;
    let (conditions, planned, proposed) = (write.conditions.clone(), key.clone(), made.clone());
    let written = write.commit(
        &call,
        |_| None,
        move |snapshot| {
            let entry = found(snapshot, &planned)?;
            conditions.check(Some(entry.leaf))?;
            let consumer = changed(entry, snapshot, |credentials| {
                let mut made = proposed.clone();
                before(credentials, &mut made)?;
                credentials.push(made.credential());
                Ok(())
            })?;
            let keyring = match snapshot.directory().keyring() {
                Some(_) => None,
                None => Some(proposed.keyring()?),
            };
            Ok(keyring.into_iter().chain([consumer]).map(Change::Put).collect())
        },
    );
    told(&call, &written.await?, &key, made)
}

// The credential with its key: the answer that nobody gets again.
fn told(call: &Call, written: &Written, key: &ResourceKey, made: Made) -> Result<Response, Problem> {
    let entry = found(&written.committed.snapshot, key).map_err(problem)?;
    let credential = credentials_of(entry).into_iter().find(|credential| credential["id"] == made.id.as_str());
    let Some(Value::Object(mut body)) = credential else {
        return Err(problem(missing(key.name.as_str(), &made.id)));
    };
    body.insert("key".into(), made.key.into());
    let form = call.form();
    let mut response = form.write(StatusCode::CREATED, &Value::Object(body.clone()));
    let location = HeaderValue::try_from(format!("/v1/consumers/{}/credentials/{}", key.name, made.id));
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location.expect("names are safe in a URL"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::ETAG, Tag::of(entry.leaf, form).header());
    Ok(written.answer_and_tell(call, response, body))
}

fn read(name: &str, call: &Call, part: impl FnOnce(&Entry) -> Result<Value, Refusal>) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let key = existing_key(Kind::Consumer, name)?;
    let head = call.state.publisher.head();
    let entry = found(&head.snapshot, &key).map_err(problem)?;
    let value = part(entry).map_err(problem)?;
    let form = call.form();
    let response = form.write_tagged(Some(Tag::of(entry.leaf, form)), &call.head.headers, &value);
    Ok(of_revision(head.identity.revision, response))
}

fn found<'s>(snapshot: &'s Snapshot, key: &ResourceKey) -> Result<&'s Entry, Refusal> {
    snapshot.get(key).map(|entry| &**entry).ok_or_else(|| Refusal::NotFound(key.clone()))
}

// The consumer with other credentials.
fn changed(
    entry: &Entry,
    snapshot: &Snapshot,
    change: impl FnOnce(&mut Vec<Value>) -> Result<(), Refusal>,
) -> Result<Resource, Refusal> {
    let mut credentials = credentials_of(entry);
    change(&mut credentials)?;
    let mut value = json::write(&entry.resource);
    value[CREDENTIALS] = credentials.into();
    read_whole(Kind::Consumer, &value, snapshot, Vec::new())
}

fn credentials_of(entry: &Entry) -> Vec<Value> {
    match json::write(&entry.resource)[CREDENTIALS].take() {
        Value::Array(credentials) => credentials,
        // There is none.
        _ => Vec::new(),
    }
}

fn place_of(credentials: &[Value], id: &str) -> Option<usize> {
    credentials.iter().position(|credential| credential["id"] == id)
}

fn missing(name: &str, id: &str) -> Refusal {
    Refusal::NoPart(format!("credential {id:?} of the consumer {name:?}"))
}

fn problem(refusal: Refusal) -> Problem {
    refused(refusal, |_| None)
}

// Credentials are good to the second.
fn second_text(time: OffsetDateTime) -> String {
    time_text(time.replace_nanosecond(0).unwrap_or(time))
}

// === impl Made ===

impl Made {
    fn new(spec: Spec, now: OffsetDateTime) -> Result<Made, Problem> {
        let no_luck = |_| Problem::unavailable("the system gives no random numbers");
        let (mut id, mut pepper) = ([0; 6], [0; 32]);
        rand::fill(&mut id).and_then(|()| rand::fill(&mut pepper)).map_err(no_luck)?;
        let key = token::make(token::API_KEY).map_err(no_luck)?;
        let id = spec.id.clone().unwrap_or_else(|| format!("key-{}", hex(&id)));
        Ok(Made { id, key, spec, pepper: hex(&pepper), now })
    }

    fn credential(&self) -> Value {
        let mut credential = document(&self.id, &self.key);
        let Spec { labels, not_before, expires_at, .. } = &self.spec;
        let times = [("not_before", not_before), ("expires_at", expires_at)];
        let times = times.map(|(field, time)| (field, time.map(second_text).map(Value::from)));
        for (field, value) in times.into_iter().chain([("labels", labels.clone())]) {
            if let Some(value) = value {
                credential[field] = value;
            }
        }
        credential
    }

    fn keyring(&self) -> Result<Resource, Refusal> {
        let value = json!({"name": keyring::NAME, "pepper": {"value": self.pepper}});
        json::read(Kind::Keyring, &value).map_err(Refusal::Invalid)
    }
}
