//! The address of a library in a database.

/// Variable that names a database.
pub(crate) const VARIABLE: &str = "VOISIN_BACKEND";

/// The address of a database, as it was given.
pub(crate) struct DatabaseAddress {
    pub(crate) text: String,
    /// Other users can read the command line, so a password does not belong there.
    pub(crate) on_command_line: bool,
}

/// The database that an option names, else the variable.
pub(crate) fn database_address(option: Option<&str>) -> Option<DatabaseAddress> {
    let given = option.filter(|text| !text.is_empty());
    let text = given
        .map(str::to_owned)
        .or_else(|| std::env::var(VARIABLE).ok())?;
    // An empty variable counts as not set, like the other variables.
    (!text.is_empty()).then_some(DatabaseAddress {
        text,
        on_command_line: given.is_some(),
    })
}
