//! `export`: the whole configuration, as `apply` takes it.

use crate::{
    client::Client,
    failure::Failure,
    output::{DocumentForm, print_document},
};
use clap::Args;

#[derive(Args)]
pub(crate) struct Arguments {
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = DocumentForm::Yaml)]
    output: DocumentForm,
}

/// Runs `portico export`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let answer = client.get("/v1/export").await?.success()?;
    print_document(&answer.json()?, arguments.output)
}
