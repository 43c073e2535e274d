//! Query parameters. Each is declared once, for the handlers that take it and for the description of the API; one that
//! a call does not know is refused, for what is misspelled would be ignored.

use super::problem::Problem;
use axum::extract::Query;
use http::Uri;
use proto::{invalid::did_you_mean, quantity};
use std::{collections::BTreeMap, time::Duration};

/// A query parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// What its value looks like.
    pub(crate) form: Form,
    /// A value that makes sense.
    pub(crate) example: &'static str,
}

/// What the value of a parameter looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// Any text.
    Text,
}

/// The parameters of one request, none of them unknown and none given twice.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

pub(crate) const PAGE_SIZE: Parameter = Parameter {
    name: "page_size",
    about: "How many a page has at most. Left out or 0: 50; more than 1000 is taken for 1000.",
    form: Form::Number,
    example: "50",
};
pub(crate) const PAGE_TOKEN: Parameter = Parameter {
    name: "page_token",
    about: "The `next_page_token` of the page before; it holds only with the same filter.",
    form: Form::Text,
    example: "5f2b7f6c0f0a4b1e6f7264657273",
};
pub(crate) const LABELS: Parameter = Parameter {
    name: "labels",
    about: "Only resources whose labels meet all conditions: `key=value`, `key!=value`, `key` (it has the label) and \
            `!key` (it has not), separated by commas.",
    form: Form::Text,
    example: "team=pay,env!=dev",
};
pub(crate) const REASON: Parameter = Parameter {
    name: "reason",
    about: "Why the change is made; recorded with the revision. The header `Portico-Reason` says the same.",
    form: Form::Text,
    example: "move orders to the new cluster",
};
pub(crate) const WAIT: Parameter = Parameter {
    name: "wait",
    about: "Hold the answer until that share of the live nodes, at whichever control plane, runs the revision: `all`, \
            a percentage (`95%`) or a number of nodes (`n:3`). When the time is over first, the answer is 202 and \
            names who lags; the change stands either way.",
    form: Form::Text,
    example: "all",
};
pub(crate) const TIMEOUT: Parameter = Parameter {
    name: "timeout",
    about: "How long `wait` waits at most: a duration up to `60s`. Default `10s`.",
    form: Form::Text,
    example: "10s",
};
pub(crate) const DRY_RUN: Parameter = Parameter {
    name: "dry_run",
    about: "Change nothing; answer with what would change.",
    form: Form::Flag,
    example: "true",
};
pub(crate) const PRUNE: Parameter = Parameter {
    name: "prune",
    about: "Delete what the body leaves out; with `labels` only among the resources that these select.",
    form: Form::Flag,
    example: "true",
};
pub(crate) const CONFIRM_SHRINK: Parameter = Parameter {
    name: "confirm_shrink",
    about: "The change may take away more than half of a configuration of more than 100 resources.",
    form: Form::Flag,
    example: "true",
};
pub(crate) const TO: Parameter = Parameter {
    name: "to",
    about: "The revision to compare with. Left out: the one before.",
    form: Form::Number,
    example: "41",
};

pub(crate) const ACTOR: Parameter = Parameter {
    name: "actor",
    about: "Only what was done with the token of this name.",
    form: Form::Text,
    example: "deploy",
};
pub(crate) const RESOURCE: Parameter = Parameter {
    name: "resource",
    about: "Only what changed this: a kind and a name, `route/orders`, or any of a kind, `route`. Beside the kinds of \
            resources there are `token` and `node`.",
    form: Form::Text,
    example: "route/orders",
};
pub(crate) const SINCE: Parameter = Parameter {
    name: "since",
    about: "Only what was done at that time or after it (RFC 3339).",
    form: Form::Text,
    example: "2026-11-24T09:00:00Z",
};
pub(crate) const UNTIL: Parameter = Parameter {
    name: "until",
    about: "Only what was done before that time (RFC 3339).",
    form: Form::Text,
    example: "2026-11-24T10:00:00Z",
};
pub(crate) const AT_REVISION: Parameter =
    Parameter { name: "at_revision", about: "Only what made this revision.", form: Form::Number, example: "42" };

/// All parameters, for the description of the API.
pub(crate) const ALL: [&Parameter; 15] = [
    &PAGE_SIZE,
    &PAGE_TOKEN,
    &LABELS,
    &REASON,
    &WAIT,
    &TIMEOUT,
    &DRY_RUN,
    &PRUNE,
    &CONFIRM_SHRINK,
    &TO,
    &ACTOR,
    &RESOURCE,
    &SINCE,
    &UNTIL,
    &AT_REVISION,
];
/// What every write takes.
pub(crate) const WRITE: [&Parameter; 4] = [&REASON, &WAIT, &TIMEOUT, &CONFIRM_SHRINK];
/// What a list of resources takes.
pub(crate) const LIST: [&Parameter; 3] = [&PAGE_SIZE, &PAGE_TOKEN, &LABELS];
/// What a list without labels takes.
pub(crate) const PAGES: [&Parameter; 2] = [&PAGE_SIZE, &PAGE_TOKEN];
/// What the audit takes.
pub(crate) const AUDIT: [&Parameter; 7] = [&PAGE_SIZE, &PAGE_TOKEN, &ACTOR, &RESOURCE, &SINCE, &UNTIL, &AT_REVISION];
/// What `apply` takes.
pub(crate) const APPLY: [&Parameter; 7] = [&DRY_RUN, &PRUNE, &LABELS, &CONFIRM_SHRINK, &REASON, &WAIT, &TIMEOUT];
/// What a diff of revisions takes.
pub(crate) const DIFF: [&Parameter; 1] = [&TO];
/// What `export` takes.
pub(crate) const EXPORT: [&Parameter; 1] = [&LABELS];
/// What a call takes that has no parameters.
pub(crate) const NONE: [&Parameter; 0] = [];

// === impl Parameters ===

impl Parameters {
    /// Reads the parameters of a request; one that is not among `known` is refused.
    pub(crate) fn read(uri: &Uri, known: &[&Parameter]) -> Result<Parameters, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::invalid_request("query", "the query is not made of name=value pairs"))?;
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs {
            if !known.iter().any(|parameter| parameter.name == name) {
                let hint = did_you_mean(&name, known.iter().map(|parameter| parameter.name));
                return Err(Problem::invalid_request(&name, format!("this call does not take the parameter{hint}")));
            }
            if parameters.insert(name.clone(), value).is_some() {
                return Err(Problem::invalid_request(&name, "the parameter is given twice"));
            }
        }
        Ok(Parameters(parameters))
    }

    /// The text of a parameter.
    pub(crate) fn text(&self, parameter: &Parameter) -> Option<&str> {
        self.0.get(parameter.name).map(String::as_str)
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, parameter: &Parameter) -> Result<bool, Problem> {
        match self.text(parameter) {
            None | Some("false") => Ok(false),
            // `?dry_run` alone says it too.
            Some("true" | "") => Ok(true),
            Some(other) => {
                Err(Problem::invalid_request(parameter.name, format!("{other:?} is neither true nor false")))
            }
        }
    }

    /// The number of a parameter.
    pub(crate) fn number(&self, parameter: &Parameter) -> Result<Option<u64>, Problem> {
        let parse = |text: &str| {
            let fault = || Problem::invalid_request(parameter.name, format!("{text:?} is not a whole number"));
            text.parse().map_err(|_| fault())
        };
        self.text(parameter).map(parse).transpose()
    }

    /// The duration of a parameter.
    pub(crate) fn duration(&self, parameter: &Parameter) -> Result<Option<Duration>, Problem> {
        let parse =
            |text: &str| quantity::duration(text).map_err(|detail| Problem::invalid_request(parameter.name, detail));
        self.text(parameter).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, Problem> {
        Parameters::read(&format!("/v1/routes?{query}").parse().unwrap(), &LIST)
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_advice() {
        let problem = read("page_sise=3").unwrap_err();
        assert!(problem.detail().contains("did you mean \"page_size\"?"), "{}", problem.detail());
        assert!(read("page_size=3&page_size=3").is_err());
    }

    #[test]
    fn values_are_decoded_and_checked() {
        let parameters = read("labels=team%3Dpay&page_size=7").unwrap();
        assert_eq!(parameters.text(&LABELS), Some("team=pay"));
        assert_eq!(parameters.number(&PAGE_SIZE).unwrap(), Some(7));
        assert!(read("page_size=-1").unwrap().number(&PAGE_SIZE).is_err());
    }
}
