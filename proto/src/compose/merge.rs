//! Where the parts' answers go, checked: no place is in another's way.

use super::{Part, Source, check_path, check_path_to_one, find_part};
use crate::{
    invalid::Faults,
    json_path::{JsonPath, Step},
    pb,
};

/// The most places.
const MAX_MERGES: usize = 64;

/// Where a part's answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The place. With [`Step::Each`] in it, it ends with one, a member and nothing else.
    pub at: JsonPath,
    /// Which part.
    pub from: usize,
    /// Where each element at a place with [`Step::Each`] has the key by which it gets its answer.
    pub on: Option<JsonPath>,
    /// When the member is there already.
    pub on_conflict: OnConflict,
}

/// What happens when a member of a name is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The part fails, or the answer.
    #[default]
    Fail,
    /// The one that is there stays.
    Keep,
    /// The new one takes its place.
    Replace,
}

/// Each part at its own name.
pub(super) fn by_name(names: &[&str]) -> Vec<Merge> {
    let at = |name: &&str| JsonPath { steps: vec![Step::Member((*name).into())] };
    let merge = |(from, name)| Merge { at: at(name), from, on: None, on_conflict: OnConflict::Fail };
    names.iter().enumerate().map(merge).collect()
}

pub(super) fn check(messages: &[pb::Merge], names: &[&str], parts: &[Option<Part>], faults: &mut Faults) -> Vec<Merge> {
    if messages.len() > MAX_MERGES {
        faults.note(format!("at most {MAX_MERGES} places can be given"));
    }
    let mut merges: Vec<Merge> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let merge = faults.at(index, |faults| {
            let before = faults.count();
            let merge = Merge::check(message, names, faults)?;
            merge.check_join(parts, faults);
            merge.check_place(&merges, names, faults);
            // Others are not judged by what is wrong.
            let all_before_are_right = merges.len() == index;
            if all_before_are_right && faults.count() == before {
                merge.check_list(&merges, faults);
            }
            (faults.count() == before).then_some(merge)
        });
        merges.extend(merge);
    }
    merges
}

// === impl Merge ===

impl Merge {
    fn check(message: &pb::Merge, names: &[&str], faults: &mut Faults) -> Option<Merge> {
        let at = check_path("at", &message.at, faults);
        let from = find_part("from", &message.from, names, faults);
        let on = match message.on.as_str() {
            "" => None,
            text => Some(check_path_to_one("on", text, faults)?),
        };
        let on_conflict = OnConflict::check(message.on_conflict.as_ref());
        Some(Merge { at: at?, from: from?, on, on_conflict })
    }

    // A join is `on`, a place with `[]`, and a part with `for_each`: all or none.
    fn check_join(&self, parts: &[Option<Part>], faults: &mut Faults) {
        let is_list = match parts.get(self.from) {
            Some(Some(part)) => matches!(part.source, Source::ForEach(_)),
            // What is wrong with it is said already.
            Some(None) | None => return,
        };
        match (&self.on, self.at.has_each()) {
            (None, false) => {}
            (None, true) if is_list => {
                faults.note("say by `on` where an element has the key by which it gets its answer");
            }
            (None, true) => {
                faults.note_at("at", "one answer has one place; `[]` is for a part with `for_each`, and `on`");
            }
            (Some(_), false) => {
                faults
                    .note_at("at", "`on` is for a member of each element; write the place as \"order.lines[].stock\"");
            }
            (Some(_), true) if !is_list => {
                faults.note_at("on", "only a part with `for_each` has an answer for each key");
            }
            (Some(_), true) => {
                if !matches!(self.at.steps.as_slice(), [.., Step::Each, Step::Member(_)]) {
                    faults.note_at("at", "a join is one member of each element, as \"order.lines[].stock\"");
                }
            }
        }
    }

    // Nothing may be put where something is, or around it.
    fn check_place(&self, earlier: &[Merge], names: &[&str], faults: &mut Faults) {
        if let Some(other) = earlier.iter().find(|other| other.at.starts_with(&self.at)) {
            let (name, at) = (names[other.from], show(&other.at));
            let detail = match other.at == self.at {
                true => format!("{:?} and {name:?} have the same place, {at}", names[self.from]),
                false => format!(
                    "{} of {:?} would cover {at} of {name:?}; put it before that, or elsewhere",
                    show(&self.at),
                    names[self.from]
                ),
            };
            faults.note_at("at", detail);
        }
    }

    // Elements are there only after a part that has them.
    fn check_list(&self, earlier: &[Merge], faults: &mut Faults) {
        let each = self.at.steps.iter().position(|step| *step == Step::Each);
        let list = each.map(|each| JsonPath { steps: self.at.steps[..each].to_vec() });
        if let Some(list) = list.filter(|list| !earlier.iter().any(|other| list.starts_with(&other.at))) {
            faults.note_at("at", format!("no earlier merge has put a list at {}", show(&list)));
        }
    }
}

/// A path for people.
pub(super) fn show(path: &JsonPath) -> String {
    if path.is_whole() { "the whole".into() } else { format!("{:?}", path.to_string()) }
}

// === impl OnConflict ===

impl OnConflict {
    pub(super) fn check(message: Option<&pb::OnConflict>) -> OnConflict {
        use pb::on_conflict::Kind;
        match message.and_then(|message| message.kind.as_ref()) {
            Some(Kind::Fail(pb::FailOnConflict {})) | None => OnConflict::Fail,
            Some(Kind::Keep(pb::KeepOnConflict {})) => OnConflict::Keep,
            Some(Kind::Replace(pb::ReplaceOnConflict {})) => OnConflict::Replace,
        }
    }
}
