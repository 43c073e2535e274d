//! Changes to JSON, checked.

use super::{Merge, OnConflict, check_path, merge::show};
use crate::{
    invalid::Faults,
    json_path::{JsonPath, Step},
    pb,
};

/// The most paths of one field.
const MAX_PATHS: usize = 64;
/// The longest name, and prefix of one.
const MAX_NAME: usize = 256;

/// Changes to JSON, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Only these are left; all where there is none.
    pub pick: Vec<JsonPath>,
    /// These are left out.
    pub omit: Vec<JsonPath>,
    /// These give way to what is in them.
    pub flatten: Vec<Flatten>,
    /// These get other names.
    pub rename: Vec<Rename>,
    /// These go elsewhere.
    pub moves: Vec<Move>,
}

/// The members of an object go into the one around it, or the elements of arrays into theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// Which; never the whole. With [`Step::Each`] at the end: arrays that are elements.
    pub at: JsonPath,
    /// What their names begin with from then on.
    pub prefix: Box<str>,
    /// When there is such a member.
    pub on_conflict: OnConflict,
}

/// A member gets another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// Which; it ends with a member.
    pub at: JsonPath,
    /// Its new name.
    pub to: Box<str>,
    /// When there is such a member.
    pub on_conflict: OnConflict,
}

/// A value goes elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which; it ends with a member.
    pub from: JsonPath,
    /// Where to; it ends with a member, and is the same up to the last [`Step::Each`].
    pub to: JsonPath,
    /// When there is something.
    pub on_conflict: OnConflict,
}

// === impl Shape ===

impl Shape {
    pub(super) fn check(message: Option<&pb::Shape>, faults: &mut Faults) -> Shape {
        let Some(message) = message else { return Shape::default() };
        let shape = Shape {
            pick: faults.each("pick", &message.pick, MAX_PATHS, |text, faults| check_inner(text, faults)),
            omit: faults.each("omit", &message.omit, MAX_PATHS, |text, faults| check_inner(text, faults)),
            flatten: faults.each("flatten", &message.flatten, MAX_PATHS, Flatten::check),
            rename: faults.each("rename", &message.rename, MAX_PATHS, Rename::check),
            moves: faults.each("move", &message.r#move, MAX_PATHS, Move::check),
        };
        for (at, pick) in shape.pick.iter().enumerate() {
            if let Some(omit) = shape.omit.iter().find(|omit| pick.starts_with(omit)) {
                let detail = format!("{pick} is picked and, with {omit}, left out");
                faults.at("pick", |faults| faults.note_at(at, detail));
            }
        }
        shape
    }

    /// The same of a whole, of which may be known what is in it.
    pub(super) fn check_whole(message: Option<&pb::Shape>, merges: Option<&[Merge]>, faults: &mut Faults) -> Shape {
        let before = faults.count();
        let shape = Shape::check(message, faults);
        let Some(merges) = merges.filter(|_| faults.count() == before) else { return shape };
        // What comes after a change of places is about the places then.
        let picks = shape.pick.iter().enumerate().map(|(at, path)| ("pick", at, path));
        let omits = shape.omit.iter().enumerate().map(|(at, path)| ("omit", at, path));
        for (field, at, path) in picks.chain(omits) {
            if !merges.iter().any(|merge| merge.at.overlaps(path)) {
                let detail = format!("nothing is merged at {}", show(path));
                faults.at(field, |faults| faults.note_at(at, detail));
            }
        }
        shape
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Shape::default()
    }
}

// A path that is not the whole.
fn check_inner(text: &str, faults: &mut Faults) -> Option<JsonPath> {
    let path = faults.take(JsonPath::parse(text))?;
    if path.is_whole() {
        faults.note("a path is missing, as \"order.id\"");
        return None;
    }
    Some(path)
}

// A path to a member.
fn check_member(field: &str, text: &str, faults: &mut Faults) -> Option<JsonPath> {
    let path = check_path(field, text, faults)?;
    if !matches!(path.steps.last(), Some(Step::Member(_))) {
        faults.note_at(field, "this is a member of an object; end the path with a name");
        return None;
    }
    Some(path)
}

fn check_new_name(field: &str, text: &str, faults: &mut Faults) {
    if text.len() > MAX_NAME {
        faults.note_at(field, format!("at most {MAX_NAME} bytes can be given"));
    }
}

// === impl Flatten ===

impl Flatten {
    fn check(message: &pb::Flatten, faults: &mut Faults) -> Option<Flatten> {
        let at = faults.at("at", |faults| check_inner(&message.at, faults));
        check_new_name("prefix", &message.prefix, faults);
        let at = at?;
        if at.steps.last() == Some(&Step::Each) && !message.prefix.is_empty() {
            faults.note_at("prefix", "elements of an array have no names");
        }
        let on_conflict = OnConflict::check(message.on_conflict.as_ref());
        Some(Flatten { at, prefix: message.prefix.as_str().into(), on_conflict })
    }
}

// === impl Rename ===

impl Rename {
    fn check(message: &pb::Rename, faults: &mut Faults) -> Option<Rename> {
        let at = check_member("at", &message.at, faults);
        check_new_name("to", &message.to, faults);
        if message.to.is_empty() {
            faults.note_at("to", "the new name is missing");
        }
        let on_conflict = OnConflict::check(message.on_conflict.as_ref());
        Some(Rename { at: at?, to: message.to.as_str().into(), on_conflict })
    }
}

// === impl Move ===

impl Move {
    fn check(message: &pb::Move, faults: &mut Faults) -> Option<Move> {
        let from = check_member("from", &message.from, faults);
        let to = check_member("to", &message.to, faults);
        let (from, to) = (from?, to?);
        let list = |path: &JsonPath| path.steps.iter().rposition(|step| *step == Step::Each).map_or(0, |at| at + 1);
        if from.steps[..list(&from)] != to.steps[..list(&to)] {
            faults.note_at("to", "each element keeps its own: up to the last `[]` it is the same path as `from`");
        } else if from.overlaps(&to) {
            faults.note_at("to", "nothing can be moved into itself, or to where it is");
        }
        Some(Move { from, to, on_conflict: OnConflict::check(message.on_conflict.as_ref()) })
    }
}
