//! The API through its front door.

mod description;
