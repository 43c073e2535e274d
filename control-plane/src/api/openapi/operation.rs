//! One operation: what it takes and every answer that it gives.

use super::{components::problem_response, in_both, reference};
use crate::api::{
    problem::{self, ProblemKind},
    query::Parameter,
};
use serde_json::{Map, Value, json};

/// An operation as it is put together.
pub(super) struct Operation {
    value: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Operation {
    /// One that needs the token.
    pub(super) fn new(tag: &str, id: &str, summary: &str) -> Operation {
        let operation = Operation::open(tag, id, summary);
        operation.problems(&[ProblemKind::Unauthorized])
    }

    /// One that is open to whoever reaches the port.
    pub(super) fn open(tag: &str, id: &str, summary: &str) -> Operation {
        let mut value = Map::new();
        value.insert("operationId".into(), id.into());
        value.insert("summary".into(), summary.into());
        value.insert("tags".into(), json!([tag]));
        let operation = Operation { value, parameters: Vec::new(), responses: Map::new() };
        operation.parameter("X-Request-Id").problems(&[ProblemKind::InvalidRequest, ProblemKind::Internal])
    }

    /// What more there is to say.
    pub(super) fn about(mut self, text: &str) -> Operation {
        self.value.insert("description".into(), text.into());
        self
    }

    /// Takes a parameter of the path or a header, by its name among the components.
    pub(super) fn parameter(mut self, name: &str) -> Operation {
        self.parameters.push(reference("parameters", name));
        self
    }

    /// Takes query parameters.
    pub(super) fn query(mut self, parameters: &[&Parameter]) -> Operation {
        self.parameters.extend(parameters.iter().map(|parameter| reference("parameters", parameter.name)));
        self
    }

    /// Takes a body; `content` by media type.
    pub(super) fn body(mut self, about: &str, content: Value) -> Operation {
        self.value.insert("requestBody".into(), json!({"description": about, "required": true, "content": content}));
        self.problems(&[
            ProblemKind::Malformed,
            ProblemKind::BodyTimeout,
            ProblemKind::TooLarge,
            ProblemKind::UnsupportedMediaType,
            ProblemKind::InvalidConfiguration,
        ])
    }

    /// Answers with a value, in JSON or YAML.
    pub(super) fn answer(self, status: u16, about: &str, schema: &str, example: &Value, headers: &[&str]) -> Operation {
        let content = in_both(&reference("schemas", schema), example);
        self.response(status, about, Some(content), headers)
    }

    /// Answers with content of whatever media type, or none.
    pub(super) fn response(mut self, status: u16, about: &str, content: Option<Value>, headers: &[&str]) -> Operation {
        let names = headers.iter().chain(&["X-Request-Id"]);
        let headers: Map<String, Value> = names.map(|name| ((*name).to_owned(), reference("headers", name))).collect();
        let mut response = json!({"description": about, "headers": headers});
        if let (Some(content), Value::Object(response)) = (content, &mut response) {
            response.insert("content".into(), content);
        }
        self.responses.insert(status.to_string(), response);
        self
    }

    /// Answers with problems.
    pub(super) fn problems(mut self, kinds: &[ProblemKind]) -> Operation {
        for kind in kinds {
            let status = kind.status();
            // The response of a status is shared by all problems that have it.
            debug_assert!(problem::KINDS.contains(kind), "each kind is listed");
            let response = reference("responses", &problem_response(status));
            self.responses.insert(status.as_u16().to_string(), response);
        }
        self
    }

    /// Needs no token.
    pub(super) fn without_token(mut self) -> Operation {
        self.value.insert("security".into(), json!([]));
        self
    }

    /// The operation as the document has it.
    pub(super) fn build(mut self) -> Value {
        self.value.insert("parameters".into(), self.parameters.into());
        self.value.insert("responses".into(), self.responses.into());
        self.value.into()
    }
}
