//! A body that is read before it is sent on, for somebody judges it first.

use super::{RequestBody, UploadFault};
use crate::wire::Wire;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use std::{future::poll_fn, pin::Pin, time::Duration};

/// How a body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'w> {
    /// Where it comes from.
    pub(crate) wire: &'w Wire,
    /// The longest silence of the client.
    pub(crate) idle: Duration,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Whole {
    /// All of it. Trailers are not passed on.
    Read(Bytes),
    /// It is larger than was asked for, and still to be sent from its beginning.
    TooLarge(RequestBody),
}

impl Reading<'_> {
    /// Reads a body of at most so many bytes.
    pub(crate) async fn read(self, mut body: RequestBody, most: usize) -> Result<Whole, UploadFault> {
        if body.size_hint().lower() > most as u64 {
            return Ok(Whole::TooLarge(body));
        }
        let mut read = Bytes::new();
        while !body.is_end_stream() {
            let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let next = self.wire.limit(self.idle, next).await.map_err(|_| UploadFault::Silent)?;
            let Some(frame) = next else { break };
            let Ok(data) = frame?.into_data() else { break };
            // The first piece is not copied.
            read = match read.is_empty() {
                true => data,
                false => {
                    let mut bytes = read.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
                    bytes.extend_from_slice(&data);
                    bytes.freeze()
                }
            };
            if read.len() > most {
                return Ok(Whole::TooLarge(RequestBody::Begun(Some(read), Box::new(body))));
            }
        }
        Ok(Whole::Read(read))
    }
}
