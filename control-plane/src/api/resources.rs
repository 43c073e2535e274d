//! The life of one resource, the same for every kind: list, get, create, replace, patch, delete.
//!
//! A write is a plan on the configuration, preconditions and all, so that two writers cannot both win.

use super::{
    bundle::keep,
    call::Call,
    form::{Tag, of_revision},
    page::{self, Page},
    problem::Problem,
    query::{LIST, NONE, WRITE},
    selector::Selector,
    write::{Write, Written, refused},
};
use crate::commit::Refusal;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use proto::{
    consumer::{CREDENTIALS, leaves_credentials},
    invalid::{Faults, Invalid},
    json::{self, secrets},
    name::Name,
    resource::{Change, Kind, Resource, ResourceKey},
    snapshot::{Entry, Snapshot},
};
use serde_json::{Map, Value};
use std::{collections::BinaryHeap, sync::Arc};
use uuid::Uuid;

/// The most of those that refer to a resource that are told.
const MAX_REFERRERS: usize = 100;

/// `GET /v1/{kind}`: a page of the resources, by name.
pub(crate) async fn list(kind: Kind, call: Call) -> Result<Response, Problem> {
    let parameters = call.parameters(&LIST)?;
    let selector = Selector::read(&parameters)?;
    let filter = format!("{} {selector}", kind.plural());
    let page = Page::read(&parameters, &filter)?;
    let head = call.state.publisher.head();
    let mut found = find(&head.snapshot, kind, &selector, &page);
    let next = match found.len() > page.size {
        true => {
            found.truncate(page.size);
            found.last().map(|entry| page::token(entry.resource.key.name.as_str(), &filter)).unwrap_or_default()
        }
        false => String::new(),
    };
    let items: Vec<Value> = found.iter().map(|entry| json::write(&entry.resource)).collect();
    let body = Map::from_iter([(kind.plural().to_owned(), items.into()), ("next_page_token".to_owned(), next.into())]);
    let response = call.form().write_tagged(None, &call.head.headers, &body.into());
    Ok(of_revision(head.identity.revision, response))
}

/// `GET /v1/{kind}/{name}`: one resource.
pub(crate) async fn get(kind: Kind, name: String, call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let head = call.state.publisher.head();
    let entry = Name::parse(&name).ok().and_then(|name| head.snapshot.get(&ResourceKey::new(kind, name)));
    let entry = entry.ok_or_else(|| Problem::not_found(format_args!("{kind} named {name:?}")))?;
    let (form, value) = (call.form(), json::write(&entry.resource));
    let response = form.write_tagged(Some(Tag::of(entry.leaf, form)), &call.head.headers, &value);
    Ok(of_revision(head.identity.revision, response))
}

/// `PUT /v1/{kind}/{name}`: create or replace.
pub(crate) async fn put(kind: Kind, name: String, call: Call, body: Body) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let key = written_key(kind, &name)?;
    let (value, _) = call.document(body).await?;
    let (conditions, planned) = (write.conditions.clone(), key.clone());
    let written = write.commit(&call, in_body(&key), move |snapshot| {
        conditions.check(snapshot.get(&planned).map(|entry| entry.leaf))?;
        understand(&planned, value.clone(), snapshot).map(|resource| vec![Change::Put(resource)])
    });
    let written = written.await?;
    let status = match written.before.get(&key) {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    };
    answer(&call, &written, &key, status)
}

/// `POST /v1/{kind}`: create; without a name it gets one.
pub(crate) async fn create(kind: Kind, call: Call, body: Body) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let (mut value, bytes) = call.document(body).await?;
    let write = write.once(&call, &bytes)?;
    if let Value::Object(object) = &mut value {
        object.entry("name").or_insert_with(|| Uuid::now_v7().to_string().into());
    }
    let key = value.get("name").and_then(|name| name_key(kind, name));
    let planned = key.clone();
    let place = move |other: &ResourceKey| (Some(other) == key.as_ref()).then(String::new);
    let written = write.commit(&call, place, move |snapshot| {
        if let Some(taken) = planned.as_ref().filter(|key| snapshot.get(key).is_some()) {
            return Err(Refusal::Exists(taken.clone()));
        }
        let resource = read_whole(kind, &value, snapshot, Vec::new())?;
        Ok(vec![Change::Put(resource)])
    });
    let written = written.await?;
    // The earlier request of the same key may have made up another name.
    let created = written.created().into_iter().find(|key| key.kind == kind);
    let key = created.ok_or_else(|| Problem::not_found("trace of what the first request created"))?;
    let mut response = answer(&call, &written, &key, StatusCode::CREATED)?;
    let location = HeaderValue::try_from(format!("/v1/{}/{}", kind.plural(), key.name));
    response.headers_mut().insert(header::LOCATION, location.expect("a name is safe in a URL"));
    Ok(response)
}

/// `PATCH /v1/{kind}/{name}`: change by a JSON merge patch.
pub(crate) async fn patch(kind: Kind, name: String, call: Call, body: Body) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let key = existing_key(kind, &name)?;
    let patch = call.merge_patch(body).await?;
    let (conditions, planned) = (write.conditions.clone(), key.clone());
    let written = write.commit(&call, in_body(&key), move |snapshot| {
        let entry = snapshot.get(&planned).ok_or_else(|| Refusal::NotFound(planned.clone()))?;
        conditions.check(Some(entry.leaf))?;
        let mut value = json::write(&entry.resource);
        json_patch::merge(&mut value, &patch);
        give_way(planned.kind, &mut value);
        take_away(planned.kind, &mut value);
        understand(&planned, value, snapshot).map(|resource| vec![Change::Put(resource)])
    });
    answer(&call, &written.await?, &key, StatusCode::OK)
}

/// `DELETE /v1/{kind}/{name}`.
pub(crate) async fn delete(kind: Kind, name: String, call: Call) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let key = existing_key(kind, &name)?;
    let conditions = write.conditions.clone();
    let written = write.commit(&call, in_body(&key.clone()), move |snapshot| {
        let entry = snapshot.get(&key).ok_or_else(|| Refusal::NotFound(key.clone()))?;
        conditions.check(Some(entry.leaf))?;
        let by: Vec<ResourceKey> = snapshot.referrers(&key).take(MAX_REFERRERS).cloned().collect();
        match by.is_empty() {
            true => Ok(vec![Change::Delete(key.clone())]),
            false => Err(Refusal::Referred { key: key.clone(), by }),
        }
    });
    Ok(written.await?.answer(&call, StatusCode::NO_CONTENT.into_response()))
}

// One more than the page holds, if there is one; the whole list is never sorted.
fn find<'s>(snapshot: &'s Snapshot, kind: Kind, selector: &Selector, page: &Page) -> Vec<&'s Arc<Entry>> {
    let mut smallest: BinaryHeap<(&Name, usize)> = BinaryHeap::with_capacity(page.size + 2);
    let mut entries = Vec::new();
    for entry in snapshot.entries() {
        let name = &entry.resource.key.name;
        let wanted = entry.resource.key.kind == kind
            && page.after.as_deref().is_none_or(|after| name.as_str() > after)
            && selector.matches(entry.checked.labels());
        if !wanted {
            continue;
        }
        smallest.push((name, entries.len()));
        entries.push(entry);
        if smallest.len() > page.size + 1 {
            smallest.pop();
        }
    }
    smallest.into_sorted_vec().into_iter().map(|(_, at)| entries[at]).collect()
}

// What PUT and PATCH have in common: the resource of a value, under the URL's name.
fn understand(key: &ResourceKey, mut value: Value, snapshot: &Snapshot) -> Result<Resource, Refusal> {
    let mut faults = Vec::new();
    if let Value::Object(object) = &mut value {
        let name = object.entry("name").or_insert_with(|| key.name.as_str().into());
        if name.as_str().is_some_and(|name| name != key.name.as_str()) {
            let detail = format!("the URL says {:?}; leave the name out, or create the other one", key.name);
            faults.push(Invalid { resource: Some(key.clone()), pointer: "/name".into(), detail });
            *name = key.name.as_str().into();
        }
    }
    read_whole(key.kind, &value, snapshot, faults)
}

// The resource, or every fault of its shape and of its meaning at once.
pub(crate) fn read_whole(
    kind: Kind,
    value: &Value,
    snapshot: &Snapshot,
    more: Vec<Invalid>,
) -> Result<Resource, Refusal> {
    let read = json::read_partial(kind, value);
    let shape: Vec<Invalid> = more.into_iter().chain(read.faults).collect();
    match read.resource.map(|resource| keep(resource, read.leaves_credentials, snapshot)) {
        Some(resource) if shape.is_empty() => Ok(resource),
        Some(resource) => {
            let meaning = snapshot.with([Change::Put(resource)]).err().unwrap_or_default();
            Err(Refusal::Invalid(json::merge_faults(shape, meaning)))
        }
        None => Err(Refusal::Invalid(shape)),
    }
}

// A secret that is given anew takes the place of the digest that was there.
fn give_way(kind: Kind, value: &mut Value) {
    secrets::walk(kind, value, &mut Faults::default(), &mut |secret, _| {
        if secret.len() > 1 {
            secret.remove("digest");
        }
    });
}

// What a patch takes away of a consumer is not left to what is stored.
fn take_away(kind: Kind, value: &mut Value) {
    if leaves_credentials(kind, value) && value.is_object() {
        value[CREDENTIALS] = Value::Array(Vec::new());
    }
}

fn answer(call: &Call, written: &Written, key: &ResourceKey, status: StatusCode) -> Result<Response, Problem> {
    let entry = written.committed.snapshot.get(key);
    let entry = entry.ok_or_else(|| refused(Refusal::NotFound(key.clone()), |_| None))?;
    let form = call.form();
    let mut response = form.write(status, &json::write(&entry.resource));
    response.headers_mut().insert(header::ETAG, Tag::of(entry.leaf, form).header());
    Ok(written.answer(call, response))
}

// The whole body is this resource.
fn in_body(key: &ResourceKey) -> impl Fn(&ResourceKey) -> Option<String> + use<> {
    let key = key.clone();
    move |other| (*other == key).then(String::new)
}

fn name_key(kind: Kind, name: &Value) -> Option<ResourceKey> {
    Name::parse(name.as_str()?).ok().map(|name| ResourceKey::new(kind, name))
}

// A name that cannot be is the name of nothing.
pub(crate) fn existing_key(kind: Kind, name: &str) -> Result<ResourceKey, Problem> {
    let name = Name::parse(name).map_err(|_| Problem::not_found(format_args!("{kind} named {name:?}")))?;
    Ok(ResourceKey::new(kind, name))
}

fn written_key(kind: Kind, name: &str) -> Result<ResourceKey, Problem> {
    let fault = |detail| Invalid { resource: None, pointer: "/name".into(), detail };
    let name = Name::parse(name).map_err(|detail| Problem::invalid(&[fault(detail)], |_| None))?;
    Ok(ResourceKey::new(kind, name))
}
