//! Refusals in place of the verbs that need PostgreSQL, for builds without that feature.

use anyhow::{Context as _, bail};

use super::Ending;
use super::args::{PullArgs, PushArgs};
use super::context::Context;
use super::remote::{DatabaseAddress, VARIABLE};
use voisin_engine::EngineError;
use voisin_questions::RemoteLibrary;

fn refuse<T>() -> anyhow::Result<T> {
    bail!(
        "this voisin has no support for databases: it was built without the feature postgres: install it with \"cargo install --path . --features postgres\""
    )
}

/// Refuses an address, naming only its scheme, as it may contain a password.
fn refuse_address<T>(address: &DatabaseAddress) -> anyhow::Result<T> {
    let named_by = if address.on_command_line {
        "--backend"
    } else {
        VARIABLE
    };
    let scheme = address
        .text
        .split_once("://")
        .map_or("a database", |(scheme, _)| scheme);
    refuse().with_context(|| format!("{named_by} names {scheme}"))
}

pub(crate) fn open(address: &DatabaseAddress) -> anyhow::Result<Box<dyn RemoteLibrary>> {
    refuse_address(address)
}

pub(crate) fn push(_: &Context, _: &PushArgs) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn pull(_: &Context, _: &PullArgs) -> anyhow::Result<Ending> {
    refuse()
}

pub(crate) fn engine_error(_: &anyhow::Error) -> Option<&EngineError> {
    None
}
