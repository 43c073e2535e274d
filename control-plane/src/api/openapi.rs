//! What the API says of itself: OpenAPI 3.1, whole, made of the same tables that the handlers read.
//!
//! Resources are described by the contract's own comments; parameters by [`super::query`]; problems by
//! [`super::problem`]. Only the operations themselves are described here, and a test holds them to the router.

mod components;
mod operation;
mod paths;
mod schemas;

use serde_json::{Map, Value, json};

/// Where the document is.
pub(crate) const PATH: &str = "/openapi.json";

const ABOUT: &str = "Says what is true in Portico. One life cycle holds for every kind of resource: PUT creates or \
    replaces, POST creates, PATCH merges, DELETE deletes what nothing refers to; each write that changes something \
    makes one numbered revision of the whole configuration. `apply` makes one revision of many resources, all or \
    nothing.\n\nBodies are JSON or YAML; answers are JSON, or YAML when `Accept` asks for `application/yaml`. What is \
    refused is answered with a problem (RFC 9457) that lists every fault at once, each with a JSON Pointer and what to \
    do.";

/// The whole document.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Portico admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This control plane"}],
        "security": [{"adminToken": []}],
        "tags": paths::tags(),
        "paths": paths::paths(),
        "components": {
            "schemas": schemas::schemas(),
            "parameters": components::parameters(),
            "headers": components::headers(),
            "responses": components::responses(),
            "securitySchemes": {"adminToken": {
                "type": "http",
                "scheme": "bearer",
                "description": "An admin token, made at /v1/tokens; the first one is PORTICO_ADMIN_TOKEN, or the file \
                    admin.token in the data directory, and may do everything.",
            }},
        },
    })
}

/// A reference to a component.
fn reference(section: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{section}/{name}")})
}

/// A value in each of the languages that bodies have.
fn in_both(schema: &Value, example: &Value) -> Value {
    let content = json!({"schema": schema, "example": example});
    let languages = [super::body::JSON, super::body::YAML[0]];
    languages.into_iter().map(|language| (language.to_owned(), content.clone())).collect::<Map<_, _>>().into()
}
