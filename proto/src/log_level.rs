//! What a program's own log tells, changed while it runs. Who sets up the log hands this to the planes, which let an
//! operator ask and say.

/// The level of a program's own log, until the program ends.
pub trait LogLevel: Send + Sync {
    /// What is logged: a level, or `target=level` and commas between.
    fn get(&self) -> String;

    /// Says what is logged from now on; the error tells what in the text is wrong.
    fn set(&self, text: &str) -> Result<(), String>;
}
