//! What a handler gets of a request: the head, the parameters it knows, and the body when it asks for it.

use super::{
    body::{self, Language},
    form::Form,
    problem::{Problem, ProblemKind},
    query::{Parameter, Parameters},
    state::ApiState,
};
use crate::author::Author;
use axum::{body::Body, extract::FromRequestParts};
use bytes::Bytes;
use http::request::Parts;
use serde_json::Value;
use std::convert::Infallible;

/// One request to the API, but for its body.
pub(crate) struct Call {
    /// What the API works on.
    pub(crate) state: ApiState,
    /// Method, URI and headers.
    pub(crate) head: Parts,
}

impl FromRequestParts<ApiState> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, state: &ApiState) -> Result<Call, Infallible> {
        Ok(Call { state: state.clone(), head: head.clone() })
    }
}

// === impl Call ===

impl Call {
    /// Who asks. The edge has found that out for every call that needs a token.
    pub(crate) fn author(&self) -> Result<&Author, Problem> {
        let author = self.head.extensions.get::<Author>();
        author.ok_or_else(|| Problem::new(ProblemKind::Internal, "this call needs a token, and nobody asked for it"))
    }

    /// The parameters of the request, all of them among `known`.
    pub(crate) fn parameters(&self, known: &[&Parameter]) -> Result<Parameters, Problem> {
        Parameters::read(&self.head.uri, known)
    }

    /// The form of the answer.
    pub(crate) fn form(&self) -> Form {
        Form::wanted(&self.head.headers)
    }

    /// The body as JSON or YAML, beside its bytes.
    pub(crate) async fn document(&self, body: Body) -> Result<(Value, Bytes), Problem> {
        let language = body::language(&self.head.headers)?;
        let _place = body::place(&self.head.headers).await?;
        let bytes = self.bytes(body).await?;
        Ok((parse(bytes.clone(), language).await?, bytes))
    }

    /// The body as a JSON merge patch.
    pub(crate) async fn merge_patch(&self, body: Body) -> Result<Value, Problem> {
        body::require_merge_patch(&self.head.headers)?;
        let _place = body::place(&self.head.headers).await?;
        parse(self.bytes(body).await?, Language::Json).await
    }

    async fn bytes(&self, body: Body) -> Result<Bytes, Problem> {
        body::collect(body, &self.head.headers, self.state.max_body).await
    }
}

/// Does what takes long where the configuration or the body is large, so that it does not hold up others on this thread.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic()))
}

async fn parse(bytes: Bytes, language: Language) -> Result<Value, Problem> {
    off_thread(move || body::parse(&bytes, language)).await
}
