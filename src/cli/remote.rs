//! Where a library in a database is said to be, and the next step where it does not answer.

/// Variable that names a database.
pub(crate) const VARIABLE: &str = "VOISIN_BACKEND";

/// How to ask what a database does not answer.
pub(crate) const PULL: &str = "bring its library here with \"voisin pull --from URL --library DIR\" (words for sounds and passages need windows: \"voisin push --windows\" before that), then ask with --library DIR and without a backend";

/// Where a database is, as it was given.
pub(crate) struct DatabaseAddress {
    pub(crate) text: String,
    /// Others may read what stands on the command line; a password does not belong there.
    pub(crate) on_command_line: bool,
}

/// The database that an option names, else the variable; `None` where nobody does.
pub(crate) fn database_address(option: Option<&str>) -> Option<DatabaseAddress> {
    let given = option.filter(|text| !text.is_empty());
    let text = given
        .map(str::to_owned)
        .or_else(|| std::env::var(VARIABLE).ok())?;
    // An empty variable is one that is not set, as with the other variables.
    (!text.is_empty()).then_some(DatabaseAddress {
        text,
        on_command_line: given.is_some(),
    })
}
