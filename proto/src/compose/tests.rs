use super::*;
use serde_json::{Value, json};

// The example of the documentation.
fn page() -> Value {
    json!({
        "deadline": "800ms",
        "parts": [
            {"name": "order", "call": {"upstream": "orders", "path": "/orders/{path.id}"}, "required": {}},
            {"name": "customer", "call": {"upstream": "customers", "path": "/customers/{parts.order.customer_id}"},
             "optional": {}, "timeout": "200ms"},
            {"name": "stock", "for_each": {"items": "order.lines", "batch": {
                "call": {"upstream": "stock", "path": "/stock?sku={items.sku}"}, "key": "sku", "max": 50}},
             "fallback": {"value": "[]"}}
        ],
        "merge": [
            {"at": "order", "from": "order"},
            {"at": "customer", "from": "customer"},
            {"at": "order.lines[].stock", "from": "stock", "on": "sku"}
        ],
        "variants": [
            {"when": {"header": {"name": "X-Client", "equals": "mobile"}},
             "shape": {"pick": ["order.id", "order.total", "customer.name"]}}
        ]
    })
}

// The page with a value at a pointer, whether something is there or not.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut page = page();
    for (pointer, value) in changes {
        let (parent, token) = pointer.rsplit_once('/').unwrap();
        match page.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not there")) {
            Value::Array(elements) => match token.parse::<usize>() {
                Ok(at) => elements[at] = value.clone(),
                Err(_) => elements.push(value.clone()),
            },
            Value::Object(members) if value.is_null() => drop(members.remove(token)),
            Value::Object(members) => drop(members.insert(token.into(), value.clone())),
            other => panic!("{other} has nothing in it"),
        }
    }
    page
}

fn check(page: &Value) -> Result<Compose, Vec<(String, String)>> {
    let mut faults = Faults::default();
    let message: pb::Compose = crate::json::read_as("Compose", page, &mut faults);
    let compose = Compose::check(&message, &[("id", false)], &mut faults);
    let found: Vec<_> = faults.into_found().into_iter().map(|fault| (fault.pointer, fault.detail)).collect();
    if found.is_empty() { Ok(compose.expect("nothing is wrong")) } else { Err(found) }
}

#[track_caller]
fn refused(changes: &[(&str, Value)], expect: &[(&str, &str)]) {
    let found = check(&with(changes)).expect_err("it is refused");
    let fits =
        |((pointer, detail), (at, part)): (&(String, String), &(&str, &str))| pointer == at && detail.contains(part);
    assert!(found.len() == expect.len() && found.iter().zip(expect).all(fits), "{found:#?}");
}

#[track_caller]
fn accepted(changes: &[(&str, Value)]) -> Compose {
    check(&with(changes)).unwrap_or_else(|found| panic!("{found:#?}"))
}

fn part(name: &str, path: &str) -> Value {
    json!({"name": name, "call": {"upstream": "a", "path": path}, "optional": {}})
}

#[test]
fn names_become_indexes() {
    let page = accepted(&[]);
    assert_eq!(page.deadline, Duration::from_millis(800));
    let uses: Vec<_> = page.parts.iter().map(|part| part.uses.clone()).collect();
    assert_eq!(uses, [vec![], vec![0], vec![0]]);
    assert_eq!(page.waves(), [vec![0], vec![1, 2]]);
    let merges: Vec<_> =
        page.merges.iter().map(|merge| (merge.at.to_string(), merge.from, merge.on.is_some())).collect();
    let expect = [("order", 0, false), ("customer", 1, false), ("order.lines[].stock", 2, true)];
    assert_eq!(merges, expect.map(|(at, from, on)| (at.to_string(), from, on)));
    let upstreams: Vec<_> = page.upstreams().into_iter().map(|(name, at)| format!("{name} {at}")).collect();
    assert_eq!(
        upstreams,
        [
            "orders parts/0/call/upstream",
            "customers parts/1/call/upstream",
            "stock parts/2/for_each/batch/call/upstream"
        ]
    );
    assert_eq!(page.variants[0].name.as_ref(), "variant-1");
    assert_eq!(page.vary, ["x-client"]);
    assert!(!page.private && !page.refuse_duplicates);
}

#[test]
fn what_is_left_out_has_a_default() {
    let page = check(&json!({"parts": [part("b", "/b"), part("a", "/a/{parts.b.id}")]})).unwrap();
    assert_eq!(page.deadline, Duration::from_secs(5));
    let at: Vec<_> = page.merges.iter().map(|merge| (merge.at.to_string(), merge.from)).collect();
    assert_eq!(at, [("b".to_string(), 0), ("a".to_string(), 1)]);
    let part = &page.parts[0];
    assert_eq!((part.max_body, part.max_depth, part.timeout, part.retries), (1 << 20, 64, None, None));
    assert!(part.accept.takes(StatusCode::NO_CONTENT) && !part.accept.takes(StatusCode::FOUND));
    assert_eq!((part.call().method.as_str(), page.incomplete.status.as_u16()), ("GET", 200));
    let posted = accepted(&[("/parts/0/call/body", json!("{\"id\": {path.id}}"))]);
    assert_eq!(posted.parts[0].call().method, "POST");
}

#[test]
fn the_answer_depends_on_what_calls_and_variants_look_at() {
    let media_type = json!({"when": {"media_type": "Application/Vnd.Shop+json"}});
    let page = accepted(&[
        ("/parts/0/call/send", json!(["Accept-Language"])),
        ("/parts/1/call/headers", json!([{"name": "x-tenant", "value": "{header.x-tenant}"}])),
        ("/variants/-", media_type),
    ]);
    assert_eq!(page.vary, ["accept", "accept-language", "x-client", "x-tenant"]);
    assert!(!page.private);
    assert_eq!(page.variants[1].when, Condition::MediaType("application/vnd.shop+json".into()));
    let claim = json!({"when": {"claim": {"path": "client.kind", "equals": "kiosk"}}});
    assert!(accepted(&[("/variants/-", claim)]).private);
    assert!(accepted(&[("/parts/0/call/send", json!(["authorization"]))]).private);
    assert!(accepted(&[("/parts/0/call/path", json!("/of/{consumer.name}"))]).private);
}

#[test]
fn all_faults_are_told_at_once_each_at_its_place() {
    refused(
        &[
            ("/deadline", json!("6m")),
            ("/parts/0/name", json!("or der")),
            ("/parts/1/call/upstream", json!("?")),
            ("/parts/1/call/path", json!("/customers/{path.ix}")),
            ("/parts/2/for_each/items", json!("ordre.lines")),
            ("/merge/1/from", json!("custmer")),
            ("/variants/0/when/header/name", json!("x y")),
        ],
        &[
            ("/deadline", "at most \"5m\""),
            ("/parts/0/name", "is not the name of a part"),
            ("/parts/1/call/upstream", "cannot stand in a name"),
            ("/parts/1/call/path", "the route's path captures no \"ix\"; did you mean \"id\"?"),
            ("/parts/2/for_each/items", "there is no part \"ordre\""),
            ("/merge/0/from", "there is no part \"order\"; did you mean \"or der\"?"),
            ("/merge/1/from", "there is no part \"custmer\"; did you mean \"customer\"?"),
            ("/variants/0/when/header/name", "is not a header name"),
        ],
    );
}

#[test]
fn parts_are_what_they_say() {
    refused(
        &[("/parts", json!([]))],
        &[
            ("/parts", "at least one part"),
            ("/merge/0/from", "there is no part"),
            ("/merge/1/from", "there is no part"),
            ("/merge/2/from", "there is no part"),
        ],
    );
    let many: Vec<Value> = (0..33).map(|n| part(&format!("p{n}"), "/")).collect();
    let found = check(&json!({"parts": many})).unwrap_err();
    assert_eq!(found, [("/parts".to_string(), "a composition has at most 32 parts".to_string())]);
    refused(
        &[("/parts/1/name", json!("order")), ("/merge/1/from", json!("order"))],
        &[("/parts/1/name", "there is a part \"order\" already")],
    );
    refused(
        &[("/parts/0/name", json!(""))],
        &[
            ("/parts/0/name", "a name is missing"),
            ("/parts/1/call/path", "there is no part \"order\""),
            ("/parts/2/for_each/items", "there is no part \"order\""),
            ("/merge/0/from", "there is no part \"order\""),
        ],
    );
    refused(
        &[("/parts/0/required", Value::Null)],
        &[("/parts/0", "give one of required, optional, fallback"), ("/parts/0", "say what happens when it fails")],
    );
    refused(&[("/parts/0/optional", json!({}))], &[("/parts/0/optional", "cannot stand beside \"required\"")]);
    refused(
        &[("/parts/0/accept", json!([199, 200]))],
        &[("/parts/0/accept/0", "199 cannot stand here; use 200 to 599")],
    );
    refused(&[("/parts/0/accept", json!(vec![200; 17]))], &[("/parts/0/accept", "at most 16")]);
    refused(&[("/parts/0/retries", json!(6))], &[("/parts/0/retries", "at most 5")]);
    refused(&[("/parts/0/max_body", json!("17MiB"))], &[("/parts/0/max_body", "up to \"16MiB\"")]);
    refused(&[("/parts/0/max_body", json!("0B"))], &[("/parts/0/max_body", "up to \"16MiB\"")]);
    refused(&[("/parts/0/max_depth", json!(0))], &[("/parts/0/max_depth", "1 to 512")]);
    refused(&[("/parts/0/select", json!("data[]"))], &[("/parts/0/select", "leave out the `[]`")]);
}

#[test]
fn a_failure_has_a_status_by_rules() {
    let rules = |rules: Value| [("/parts/0/required", json!({ "status": rules }))];
    let page = accepted(&rules(json!([{"when": [404, 410], "answer": 404}])));
    let Need::Required(found) = &page.parts[0].need else { panic!("it is required") };
    assert_eq!((found[0].when.len(), found[0].answer), (2, StatusCode::NOT_FOUND));
    let at = |rest: &str| format!("/parts/0/required/status{rest}");
    let refused = |rule: Value, pointer: &str, detail: &str| refused(&rules(rule), &[(&at(pointer), detail)]);
    refused(json!([{"when": [204], "answer": 404}]), "/0/when/0", "204 is accepted");
    refused(
        json!([{"when": [404, 404], "answer": 404}, {"when": [500], "answer": 200}]),
        "/1/answer",
        "use 400 to 599",
    );
    refused(json!([{"when": [404], "answer": 404}, {"when": [404], "answer": 410}]), "/1/when/0", "has a rule already");
    refused(json!([{"when": [600], "answer": 404}]), "/0/when/0", "600 cannot stand here");
    refused(json!([{"answer": 404}]), "/0/when", "at least one status");
}

#[test]
fn a_fallback_is_json_as_text() {
    let fallback = |text: &str| [("/parts/2/fallback", json!({ "value": text }))];
    let Need::Fallback(value) = &accepted(&fallback(" {\"n\": 1.10}\n")).parts[2].need else { panic!("it has one") };
    assert_eq!(value, "{\"n\": 1.10}");
    refused(&fallback("{a: 1}"), &[("/parts/2/fallback/value", "this is not JSON")]);
    refused(&fallback(""), &[("/parts/2/fallback/value", "a value is missing; write JSON as text")]);
    refused(&fallback(&format!("\"{}\"", "x".repeat(65_536))), &[("/parts/2/fallback/value", "at most 64KiB")]);
}

#[test]
fn a_call_is_one_that_can_be_sent() {
    let call = |field: &str, value: Value, pointer: &str, detail: &str| {
        refused(&[(&format!("/parts/0/call/{field}"), value)], &[(&format!("/parts/0/call/{pointer}"), detail)]);
    };
    call("path", json!(""), "path", "a path is missing");
    call("path", json!("orders"), "path", "begins with a slash");
    call("path", json!("/{items.sku}"), "path", "only the calls of a `for_each`");
    call("path", json!("/{parts.stok}"), "path", "did you mean \"stock\"?");
    call("method", json!("HEAD"), "method", "has nothing to compose");
    call("method", json!("G T"), "method", "is not a method");
    call("host", json!("a b"), "host", "");
    call("body", json!("{\"a\": {path.id}"), "body", "this is not JSON");
    call("headers", json!([{"name": "host", "value": "a"}]), "headers/0/name", "use `host`");
    call("headers", json!([{"name": "traceparent", "value": "a"}]), "headers/0/name", "the gateway's own");
    call("headers", json!([{"name": "connection", "value": "a"}]), "headers/0/name", "cannot be changed");
    for name in ["Range", "if-none-match", "accept-encoding", "x-forwarded-for", "traceparent"] {
        call("send", json!(["accept", name]), "send/1", "the gateway's own");
    }
    call("send", json!(["content-type"]), "send/0", "describes the client's body");
    call("send", json!(["te"]), "send/0", "cannot be changed");
    let get = [("/parts/0/call/method", json!("GET")), ("/parts/0/call/body", json!("1"))];
    refused(&get, &[("/parts/0/call/method", "a GET has no body")]);
}

#[test]
fn a_list_is_asked_for_by_keys() {
    let at = "/parts/2/for_each";
    let list = |field: &str, value: Value, pointer: &str, detail: &str| {
        refused(&[(&format!("{at}/{field}"), value)], &[(&format!("{at}/{pointer}"), detail)]);
    };
    list("items", json!(""), "items", "name the part and where its list is");
    list("items", json!("[].a"), "items", "name the part");
    list("max_items", json!(0), "max_items", "use 1 to 1000");
    list("parallel", json!(33), "parallel", "use 1 to 32");
    list("batch/max", json!(1001), "batch/max", "use 1 to 1000");
    list("batch/key", json!("a[]"), "batch/key", "leave out the `[]`");
    list("batch/key", json!(""), "batch/answer_key", "say where it is in one");
    list("batch/call/path", json!("/stock"), "batch/call", "the same for every element");
    list("failed_item", json!({"value": "x"}), "failed_item/value", "this is not JSON");
    let page = accepted(&[
        (&format!("{at}/batch"), Value::Null),
        (&format!("{at}/each"), json!({"call": {"upstream": "stock", "path": "/stock/{items.sku}"}, "key": "sku"})),
        (&format!("{at}/failed_item"), json!({"omit": {}})),
    ]);
    let Source::ForEach(for_each) = &page.parts[2].source else { panic!("it is a list") };
    assert!(matches!(for_each.ask, Ask::Each(_)) && for_each.failed_item == FailedItem::Omit);
    assert_eq!((for_each.part, for_each.items.to_string().as_str(), for_each.max_items), (0, "lines", 100));
    assert_eq!(page.upstreams()[2].1, "parts/2/for_each/each/call/upstream");
}

#[test]
fn no_part_waits_for_itself() {
    refused(&[("/parts/1/call/path", json!("/{parts.customer.id}"))], &[("/parts/1", "\"customer\" uses itself")]);
    refused(
        &[("/parts/0/call/path", json!("/{parts.customer.id}"))],
        &[("/parts/0", "parts wait for each other: order → customer → order")],
    );
    // Two circles are two faults.
    let parts = [
        part("a", "/{parts.b.x}"),
        part("b", "/{parts.c.x}"),
        part("c", "/{parts.a.x}"),
        part("d", "/{parts.e.x}"),
        part("e", "/{parts.d.x}"),
        part("f", "/"),
    ];
    let found = check(&json!({"parts": parts})).unwrap_err();
    let expect = [("/parts/0", "a → b → c → a"), ("/parts/3", "d → e → d")];
    let expect = expect.map(|(at, circle)| (at.to_string(), format!("parts wait for each other: {circle}")));
    assert_eq!(found, expect);
}

#[test]
fn timeouts_fit_the_deadline() {
    refused(
        &[("/parts/1/timeout", json!("900ms"))],
        &[("/parts/1/timeout", "\"900ms\" is longer than the `deadline` of \"800ms\"")],
    );
    refused(
        &[("/parts/0/timeout", json!("700ms"))],
        &[(
            "/parts/1/timeout",
            "the timeouts of order → customer are \"900ms\" together, the `deadline` of all is \"800ms\"",
        )],
    );
    accepted(&[("/parts/0/timeout", json!("600ms"))]);
}

#[test]
fn no_place_is_in_the_way_of_another() {
    let merge = |changes: &[(&str, Value)], pointer: &str, detail: &str| refused(changes, &[(pointer, detail)]);
    merge(
        &[("/merge/1/at", json!("order"))],
        "/merge/1/at",
        "\"customer\" and \"order\" have the same place, \"order\"",
    );
    let inner = [
        ("/merge/0/at", json!("page.order")),
        ("/merge/1/at", json!("page")),
        ("/merge/2/at", json!("page.order.lines[].stock")),
    ];
    // The pick of the variant has no place then either.
    let found = check(&with(&inner)).unwrap_err();
    assert!(
        found[0].0 == "/merge/1/at"
            && found[0].1.contains("\"page\" of \"customer\" would cover \"page.order\" of \"order\""),
        "{found:?}"
    );
    merge(&[("/merge/2/at", json!("order.lines[]"))], "/merge/2/at", "one member of each element");
    merge(&[("/merge/2/at", json!("order.lines[].a.b"))], "/merge/2/at", "one member of each element");
    merge(&[("/merge/2/at", json!("orders[].stock"))], "/merge/2/at", "no earlier merge has put a list at \"orders\"");
    merge(&[("/merge/2/on", json!(""))], "/merge/2", "say by `on`");
    merge(&[("/merge/2/at", json!("stock"))], "/merge/2/at", "`on` is for a member of each element");
    merge(&[("/merge/1/at", json!("order.lines[].customer"))], "/merge/1/at", "one answer has one place");
    let joined = [("/merge/1/at", json!("order.lines[].customer")), ("/merge/1/on", json!("id"))];
    merge(&joined, "/merge/1/on", "only a part with `for_each`");
    merge(
        &[("/merge", json!([{"from": "order"}, {"at": "customer", "from": "customer"}]))],
        "/parts/2",
        "is neither merged nor used",
    );
    // A list is there only after its part was merged.
    let late = json!([page()["merge"][2], page()["merge"][0], page()["merge"][1]]);
    let found = check(&with(&[("/merge", late)])).unwrap_err();
    assert!(found.iter().any(|(at, detail)| at == "/merge/0/at" && detail.contains("no earlier merge")), "{found:?}");
    // A member beside others, a list as it is, and the whole of which others become a part.
    let page = accepted(&[(
        "/merge",
        json!([
            {"from": "order"},
            {"at": "customer", "from": "customer", "on_conflict": {"replace": {}}},
            {"at": "stock", "from": "stock"}
        ]),
    )]);
    assert!(page.merges[0].at.is_whole() && page.merges[1].on_conflict == OnConflict::Replace);
}

#[test]
fn headers_are_taken_up_from_one_answer() {
    let header = |header: Value, pointer: &str, detail: &str| {
        refused(&[("/headers", json!([header]))], &[(&format!("/headers/0/{pointer}"), detail)]);
    };
    header(json!({"from": "ordr", "name": "x"}), "from", "did you mean \"order\"?");
    header(json!({"from": "stock", "name": "x"}), "from", "many answers");
    for name in ["Content-Length", "transfer-encoding"] {
        header(
            json!({"from": "order", "name": name}),
            "name",
            if name == "Content-Length" { "cannot be changed" } else { "frames" },
        );
    }
    header(json!({"from": "order", "name": "content-type"}), "name", "is not true of the whole");
    header(json!({"from": "order", "name": "etag"}), "name", "give it another name by `as`");
    header(json!({"from": "order", "name": "x", "as": "content-encoding"}), "as", "is not true of the whole");
    let twice = json!([{"from": "order", "name": "x"}, {"from": "customer", "name": "y", "as": "X"}]);
    refused(&[("/headers", twice)], &[("/headers/1/as", "\"x\" is taken up twice")]);
    let page = accepted(&[("/headers", json!([{"from": "order", "name": "etag", "as": "X-Order-ETag"}]))]);
    assert_eq!((page.headers[0].name.as_str(), page.headers[0].to.as_str()), ("etag", "x-order-etag"));
}

#[test]
fn the_list_of_what_is_missing_has_a_place_of_its_own() {
    let page = accepted(&[("/incomplete", json!({"status": 206, "at": "meta.incomplete"}))]);
    assert_eq!(page.incomplete.status.as_u16(), 206);
    accepted(&[("/incomplete", json!({"at": "order.incomplete"}))]);
    refused(
        &[("/incomplete", json!({"at": "order"}))],
        &[("/incomplete/at", "the place \"order\" of a part is there")],
    );
    refused(&[("/incomplete", json!({"at": "a[]"}))], &[("/incomplete/at", "leave out the `[]`")]);
    refused(&[("/incomplete", json!({"status": 204}))], &[("/incomplete/status", "has no body")]);
    refused(&[("/incomplete", json!({"status": 100}))], &[("/incomplete/status", "use 200 to 599")]);
}

#[test]
fn a_shape_is_about_what_can_be_there() {
    let shape = |shape: Value, pointer: &str, detail: &str| {
        refused(&[("/shape", shape)], &[(&format!("/shape/{pointer}"), detail)]);
    };
    shape(json!({"pick": ["ordr.id"]}), "pick/0", "nothing is merged at \"ordr.id\"");
    shape(json!({"omit": ["order", "shipping"]}), "omit/1", "nothing is merged at \"shipping\"");
    shape(
        json!({"pick": ["order.id", "customer.name"], "omit": ["customer"]}),
        "pick/1",
        "customer.name is picked and",
    );
    shape(json!({"pick": [""]}), "pick/0", "a path is missing");
    shape(json!({"pick": vec!["order.id"; 65]}), "pick", "at most 64");
    shape(json!({"rename": [{"at": "order[]", "to": "x"}]}), "rename/0/at", "end the path with a name");
    shape(json!({"rename": [{"at": "order.id"}]}), "rename/0/to", "the new name is missing");
    shape(json!({"flatten": [{"prefix": "x"}]}), "flatten/0/at", "a path is missing");
    shape(json!({"flatten": [{"at": "order.lines[]", "prefix": "x"}]}), "flatten/0/prefix", "have no names");
    shape(json!({"move": [{"from": "order.lines[].a", "to": "a"}]}), "move/0/to", "each element keeps its own");
    shape(json!({"move": [{"from": "order", "to": "order.a"}]}), "move/0/to", "into itself");
    let page = accepted(&[
        (
            "/shape",
            json!({
                "flatten": [{"at": "customer.address", "prefix": "address_", "on_conflict": {"keep": {}}}],
                "rename": [{"at": "order.lines[].qty", "to": "quantity"}],
                "move": [{"from": "order.lines[].product.name", "to": "order.lines[].name"}]
            }),
        ),
        ("/parts/0/shape", json!({"omit": ["internal"]})),
    ]);
    assert!(page.shape.flatten[0].on_conflict == OnConflict::Keep && !page.shape.is_empty());
    assert!(page.variants[0].shape.rename.is_empty() && page.parts[0].shape.omit.len() == 1);
}

#[test]
fn no_variant_leaves_out_what_it_needs() {
    let skip = |skip: Value| [("/variants/0/skip", skip)];
    refused(&skip(json!(["stok"])), &[("/variants/0/skip/0", "did you mean \"stock\"?")]);
    refused(
        &skip(json!(["customer"])),
        &[("/variants/0/shape/pick/2", "\"customer.name\" is picked of \"customer\", which is left out")],
    );
    let all = [("/variants/0/skip", json!(["order", "customer", "stock"])), ("/variants/0/shape", Value::Null)];
    refused(&all, &[("/variants/0/skip", "no part is left")]);
    let order = [("/variants/0/skip", json!(["order"])), ("/variants/0/shape", Value::Null)];
    refused(
        &order,
        &[
            ("/variants/0/skip", "\"customer\" uses \"order\", which is left out"),
            ("/variants/0/skip", "\"stock\" uses \"order\", which is left out"),
            ("/variants/0/skip", "\"stock\" is put into \"order\", which is left out"),
        ],
    );
    let page = accepted(&skip(json!(["stock"])));
    assert!(page.variants[0].skips(2) && !page.variants[0].skips(0));
}

#[test]
fn a_variant_is_for_some_clients() {
    let when = |when: Value, pointer: &str, detail: &str| {
        refused(&[("/variants/0/when", when)], &[(&format!("/variants/0/when{pointer}"), detail)]);
    };
    when(Value::Null, "", "say who is meant");
    when(json!({"header": {"name": "x"}}), "/header/equals", "say what it is");
    when(json!({"query": {"equals": "x"}}), "/query/name", "is missing");
    when(json!({"media_type": "text/html"}), "/media_type", "is not a media type of JSON");
    when(json!({"media_type": "*/json"}), "/media_type", "is not a media type of JSON");
    when(json!({"claim": {"path": "a..b", "equals": "x"}}), "/claim/path", "has an empty name");
    let again = json!({"name": "again", "when": {"header": {"name": "x-client", "equals": "mobile"}}});
    refused(&[("/variants/-", again)], &[("/variants/1/when", "\"variant-1\" has the same condition")]);
    let same = json!({"name": "variant-1", "when": {"query": {"name": "v", "equals": "mobile"}}});
    refused(&[("/variants/-", same)], &[("/variants/1/name", "there is a variant \"variant-1\" already")]);
    let variants: Vec<Value> =
        (0..17).map(|n| json!({"when": {"query": {"name": "v", "equals": n.to_string()}}})).collect();
    refused(&[("/variants", json!(variants))], &[("/variants", "at most 16")]);
    refused(&[("/variants/0/name", json!("a b"))], &[("/variants/0/name", "is not the name")]);
}
