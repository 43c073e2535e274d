//! The description of the API, for machines and for people. The page is served whole from here and may load nothing
//! from elsewhere.

use super::{call::Call, openapi, problem::Problem, query::NONE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use std::sync::{Arc, LazyLock};
use utoipa_swagger_ui::{Config, serve};

// Swagger UI sets style attributes; nothing else is inline and nothing is from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Portico admin API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/swagger-initializer.js"></script>
</body>
</html>
"#;

// What the page is made of; the package has more than that.
const FILES: [&str; 5] = [
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
    "favicon-32x32.png",
];

/// `GET /openapi.json`.
pub(crate) async fn description(call: Call) -> Result<Response, Problem> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());
    call.parameters(&NONE)?;
    Ok(typed(DOCUMENT.clone(), HeaderValue::from_static("application/json")))
}

/// `GET /docs`: the page for people.
pub(crate) async fn page(call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    Ok(typed(Bytes::from_static(PAGE.as_bytes()), HeaderValue::from_static("text/html; charset=utf-8")))
}

/// `GET /docs/{file}`: what the page is made of.
pub(crate) async fn file(name: String, call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let missing = || Problem::not_found(format_args!("file named {name:?}"));
    if !FILES.contains(&name.as_str()) {
        return Err(missing());
    }
    // `none` switches the badge off that would send the document to a validator elsewhere.
    let config = Config::from(openapi::PATH).use_base_layout().validator_url("none").try_it_out_enabled(true);
    let file = serve(&name, Arc::new(config)).ok().flatten().ok_or_else(missing)?;
    let media_type = HeaderValue::try_from(file.content_type).map_err(|_| missing())?;
    Ok(typed(Bytes::from(file.bytes.into_owned()), media_type))
}

fn typed(bytes: Bytes, media_type: HeaderValue) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
