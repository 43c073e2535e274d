//! The level of the program's own log is asked for and said.

use super::Api;
use serde_json::json;

#[tokio::test]
async fn the_level_is_what_was_said_last() {
    let api = Api::start().await;
    let debug = json!({"log_level": "debug"});
    assert_eq!(api.put("/v1/log-level", &debug).await.check(200).json(), debug);
    for (wrong, pointer) in [
        (json!({"log_level": "loud"}), "/log_level"),
        (json!({"log_level": 7}), "/log_level"),
        (json!({"level": "info", "log_level": "info"}), "/level"),
        (json!("info"), "/log_level"),
    ] {
        let problem = api.put("/v1/log-level", &wrong).await.check_problem(422, "invalid-fields");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    assert_eq!(api.get("/v1/log-level").await.check(200).json(), debug);
}
