//! Which part waits for which: no circle, and time enough for each chain.

use super::Part;
use crate::{invalid::Faults, quantity};
use std::time::Duration;

/// Notes circles and chains that cannot end in time.
pub(super) fn check(parts: &[Part], deadline: Duration, faults: &mut Faults) {
    faults.at("parts", |faults| {
        let circles = circles(parts);
        for circle in &circles {
            let first = circle[0];
            let detail = match circle.as_slice() {
                [_] => format!("{:?} uses itself", parts[first].name),
                _ => format!("parts wait for each other: {}", chain(parts, circle.iter().chain([&first]))),
            };
            faults.note_at(first, detail);
        }
        if circles.is_empty() {
            check_chains(parts, deadline, faults);
        }
    });
}

/// The parts in waves. Parts in a circle are in none.
pub(super) fn waves(parts: &[Part]) -> Vec<Vec<usize>> {
    let mut waves: Vec<Vec<usize>> = Vec::new();
    let mut ended = vec![false; parts.len()];
    loop {
        let ready = |at: &usize| !ended[*at] && parts[*at].uses.iter().all(|used| ended[*used]);
        let wave: Vec<usize> = (0..parts.len()).filter(ready).collect();
        if wave.is_empty() {
            return waves;
        }
        wave.iter().for_each(|at| ended[*at] = true);
        waves.push(wave);
    }
}

// Each circle once, from its first part on; one that shares a part with another may go unseen till that is mended.
fn circles(parts: &[Part]) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let mut state = vec![Visit::New; parts.len()];
    for start in 0..parts.len() {
        visit(parts, start, &mut Vec::new(), &mut state, &mut found);
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

// As deep as there are parts, which are few.
fn visit(parts: &[Part], at: usize, path: &mut Vec<usize>, state: &mut [Visit], found: &mut Vec<Vec<usize>>) {
    match state[at] {
        Visit::Done => {}
        Visit::Open => {
            let mut circle = path[path.iter().position(|part| *part == at).unwrap_or(0)..].to_vec();
            let least = circle.iter().enumerate().min_by_key(|(_, part)| **part).map_or(0, |(index, _)| index);
            circle.rotate_left(least);
            found.push(circle);
        }
        Visit::New => {
            state[at] = Visit::Open;
            path.push(at);
            for used in &parts[at].uses {
                visit(parts, *used, path, state, found);
            }
            path.pop();
            state[at] = Visit::Done;
        }
    }
}

// What is longest by its timeouts of all that a part waits for, and itself; parts without one count as nothing.
fn check_chains(parts: &[Part], deadline: Duration, faults: &mut Faults) {
    let mut longest: Vec<(Duration, Option<usize>)> = vec![(Duration::ZERO, None); parts.len()];
    for at in waves(parts).into_iter().flatten() {
        let before = parts[at].uses.iter().map(|used| (longest[*used].0, Some(*used)));
        let (time, used) = before.max_by_key(|(time, _)| *time).unwrap_or_default();
        let own = parts[at].timeout.unwrap_or_default();
        longest[at] = (time + own, used);
        // Only where it goes over, and not again for each that waits for it.
        if own > Duration::ZERO && longest[at].0 > deadline && time <= deadline && used.is_some() {
            let mut links = vec![at];
            while let Some(next) = longest[links[links.len() - 1]].1 {
                links.push(next);
            }
            links.reverse();
            let (sum, deadline) = (quantity::write(longest[at].0), quantity::write(deadline));
            let chain = chain(parts, links.iter());
            let detail = format!("the timeouts of {chain} are {sum:?} together, the `deadline` of all is {deadline:?}");
            faults.at(at, |faults| faults.note_at("timeout", detail));
        }
    }
}

fn chain<'a>(parts: &[Part], links: impl Iterator<Item = &'a usize>) -> String {
    links.map(|at| &*parts[*at].name).collect::<Vec<_>>().join(" → ")
}
