//! (the request's; to come)
