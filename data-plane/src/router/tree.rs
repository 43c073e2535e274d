//! Templates and prefixes as a tree of segments, flat in memory.
//!
//! A request's path is walked segment by segment, along the literal child, then the variable one. A node is reached in
//! one way only, so a walk visits each node once at most, whatever the path and the templates: its cost is bounded by the
//! configuration and never exponential. Each node knows the rank of the best below it, and what cannot win is not
//! walked. On the way back prefixes are looked at, and so the longest first.

use super::{
    candidate::{Candidate, Search},
    segments,
    table::index,
};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use proto::matching::{PathPattern, Rank, Segment};
use std::hash::{BuildHasher, Hasher};

/// No node.
const NONE: u32 = u32::MAX;

/// Templates and prefixes by their segments.
pub(super) struct Tree {
    // The root first; a parent stands before its children.
    nodes: Box<[Node]>,
    // Literal children, by parent and text.
    literals: HashTable<u32>,
    // The texts of all literal children.
    texts: Box<[u8]>,
    // By node; those of one node stand together: that end there, whose rest begins there, prefixes.
    candidates: Box<[Candidate]>,
}

struct Node {
    parent: u32,
    // The variable child.
    variable: u32,
    // Where its text stands in `texts`; empty for a variable.
    text: u32,
    text_len: u16,
    has_literals: bool,
    // Where its candidates of each kind begin, one after the other.
    first: u32,
    rests: u32,
    prefixes: u32,
    end: u32,
    // The best of its own and of all below it.
    bound: Rank,
}

/// How a candidate hangs at its node, in the order in which they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    /// The path ends there.
    End,
    /// The rest of the path begins there, and is not empty.
    Rest,
    /// Whatever follows.
    Prefix,
}

struct Builder<'a> {
    state: &'a RandomState,
    nodes: Vec<Node>,
    literals: HashTable<u32>,
    texts: Vec<u8>,
}

// === impl Tree ===

impl Tree {
    /// The tree of the candidates; those with an exact path or an expression have no place in it.
    pub(super) fn build(candidates: Vec<Candidate>, state: &RandomState) -> Tree {
        let mut builder = Builder { state, nodes: Vec::new(), literals: HashTable::new(), texts: Vec::new() };
        let mut placed: Vec<(u32, Hold, Candidate)> =
            candidates.into_iter().filter_map(|candidate| builder.place(candidate)).collect();
        placed.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| a.2.order(&b.2)));
        for (at, (node, hold, _)) in placed.iter().enumerate() {
            builder.nodes[*node as usize].hold(index(at), *hold);
        }
        let Builder { nodes, mut literals, texts, .. } = builder;
        literals.shrink_to_fit(|at| hash_of(&nodes, &texts, state, *at));
        let candidates = placed.into_iter().map(|(_, _, candidate)| candidate).collect();
        Tree { nodes: nodes.into(), literals, texts: texts.into(), candidates }
    }

    /// All candidates.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter()
    }

    /// Looks for a better match.
    #[inline]
    pub(super) fn find<'r>(&'r self, search: &mut Search<'r, '_>) {
        self.walk(0, search.head.path.as_bytes().get(1..), search);
    }

    // `rest` is what follows the slash behind the node's segment; `None` where no slash follows.
    fn walk<'r>(&'r self, at: u32, rest: Option<&[u8]>, search: &mut Search<'r, '_>) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        if !search.may_win(node.bound) {
            return;
        }
        match rest {
            None => {
                if node.first < node.rests {
                    search.consider(self.held(node.first, node.rests));
                }
            }
            Some(rest) => {
                if node.has_literals || node.variable != NONE {
                    self.descend(at, node, rest, search);
                }
                if node.rests < node.prefixes && !rest.is_empty() {
                    search.consider(self.held(node.rests, node.prefixes));
                }
            }
        }
        if node.prefixes < node.end {
            search.consider(self.held(node.prefixes, node.end));
        }
    }

    #[inline]
    fn descend<'r>(&'r self, at: u32, node: &Node, rest: &[u8], search: &mut Search<'r, '_>) {
        let (segment, next) = match segments::slash(rest).and_then(|slash| rest.split_at_checked(slash)) {
            Some((segment, next)) => (segment, next.get(1..)),
            None => (rest, None),
        };
        if node.has_literals
            && let Some(child) = self.literal(at, segment, search.state)
        {
            self.walk(child, next, search);
        }
        if node.variable != NONE && !segment.is_empty() {
            self.walk(node.variable, next, search);
        }
    }

    #[inline]
    fn literal(&self, parent: u32, segment: &[u8], state: &RandomState) -> Option<u32> {
        let is_it = |at: &u32| is_literal(&self.nodes, &self.texts, *at, parent, segment);
        self.literals.find(hash(state, parent, segment), is_it).copied()
    }

    // Most nodes hold nothing of most kinds: who calls knows.
    #[inline]
    fn held(&self, from: u32, to: u32) -> &[Candidate] {
        &self.candidates[from as usize..to as usize]
    }
}

// === impl Node ===

impl Node {
    // Candidates come in their order.
    fn hold(&mut self, at: u32, hold: Hold) {
        if self.end == 0 {
            (self.first, self.rests, self.prefixes) = (at, at, at);
        }
        self.end = at + 1;
        match hold {
            Hold::End => (self.rests, self.prefixes) = (self.end, self.end),
            Hold::Rest => self.prefixes = self.end,
            Hold::Prefix => {}
        }
    }
}

// === impl Builder ===

impl Builder<'_> {
    fn place(&mut self, candidate: Candidate) -> Option<(u32, Hold, Candidate)> {
        let rank = candidate.rank;
        let (mut at, mut hold) = (self.node(NONE, b"", rank), Hold::End);
        match &candidate.entry.route.matches.path {
            PathPattern::Any => hold = Hold::Prefix,
            PathPattern::Prefix(prefix) => {
                hold = Hold::Prefix;
                for segment in prefix.split('/').skip(1) {
                    at = self.literal(at, segment.as_bytes(), rank);
                }
            }
            PathPattern::Template(template) => {
                for segment in &template.segments {
                    match segment {
                        Segment::Literal(text) => at = self.literal(at, text.as_bytes(), rank),
                        Segment::Variable => at = self.variable(at, rank),
                        Segment::Rest => hold = Hold::Rest,
                    }
                }
            }
            PathPattern::Exact(_) | PathPattern::Regex(_) => return None,
        }
        Some((at, hold, candidate))
    }

    fn literal(&mut self, parent: u32, text: &[u8], rank: Rank) -> u32 {
        let hash = hash(self.state, parent, text);
        let known = self.literals.find(hash, |at| is_literal(&self.nodes, &self.texts, *at, parent, text)).copied();
        if let Some(at) = known {
            return self.visit(at, rank);
        }
        let at = self.node(parent, text, rank);
        self.nodes[parent as usize].has_literals = true;
        self.literals.insert_unique(hash, at, |at| hash_of(&self.nodes, &self.texts, self.state, *at));
        at
    }

    fn variable(&mut self, parent: u32, rank: Rank) -> u32 {
        match self.nodes[parent as usize].variable {
            NONE => {
                let at = self.node(parent, b"", rank);
                self.nodes[parent as usize].variable = at;
                at
            }
            at => self.visit(at, rank),
        }
    }

    // A new node; for the root the one that is there.
    fn node(&mut self, parent: u32, text: &[u8], rank: Rank) -> u32 {
        if parent == NONE && !self.nodes.is_empty() {
            return self.visit(0, rank);
        }
        let at = index(self.nodes.len());
        self.nodes.push(Node {
            parent,
            variable: NONE,
            text: index(self.texts.len()),
            // A pattern has at most 2,048 bytes.
            text_len: u16::try_from(text.len()).unwrap_or(u16::MAX),
            has_literals: false,
            first: 0,
            rests: 0,
            prefixes: 0,
            end: 0,
            bound: rank,
        });
        self.texts.extend(text);
        at
    }

    fn visit(&mut self, at: u32, rank: Rank) -> u32 {
        let node = &mut self.nodes[at as usize];
        node.bound = node.bound.max(rank);
        at
    }
}

fn text<'t>(node: &Node, texts: &'t [u8]) -> &'t [u8] {
    let start = node.text as usize;
    texts.get(start..start + usize::from(node.text_len)).unwrap_or_default()
}

#[inline]
fn is_literal(nodes: &[Node], texts: &[u8], at: u32, parent: u32, segment: &[u8]) -> bool {
    nodes.get(at as usize).is_some_and(|node| node.parent == parent && text(node, texts) == segment)
}

fn hash_of(nodes: &[Node], texts: &[u8], state: &RandomState, at: u32) -> u64 {
    nodes.get(at as usize).map_or(0, |node| hash(state, node.parent, text(node, texts)))
}

#[inline]
fn hash(state: &RandomState, parent: u32, text: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(parent);
    hasher.write(text);
    hasher.finish()
}
