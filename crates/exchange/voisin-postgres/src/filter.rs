//! Filters in a database. They select at least the matching tracks, which are filtered again once
//! fetched: there a track of several files is tested file by file.

use super::parameter::SqlParameter;
use super::row::hash;
use super::{BackendError, Result};
use voisin_genre::Taxonomy;
use voisin_library::{FilterDialect, FilterSql, FilterValue, TrackFilter, licence_fits};

/// A filter that every track passes.
///
/// - `first`: the number of the first value
pub(super) fn no_conditions(first: usize) -> FilterSql {
    FilterSql::new(FilterDialect::Postgres { key: hash }, first)
}

/// The conditions of a filter.
///
/// - `first`: the number of the first value
/// - `licences`: all licences in the database, as files spell them
pub(super) fn conditions(
    filter: &TrackFilter,
    first: usize,
    taxonomy: &Taxonomy,
    licences: impl FnOnce() -> Result<Vec<String>>,
) -> Result<FilterSql> {
    // Filters for which a database has no data are refused, not ignored: results without the filter would be wrong.
    if !filter.words.is_empty() {
        return Err(BackendError::Tag);
    }
    let genres = |names: &[String]| {
        taxonomy
            .named(names)
            .iter()
            .map(|genre| genre.key().to_owned())
            .collect()
    };
    let exclude_genres = genres(&filter.exclude_genres);
    let genres = genres(&filter.genres);
    // Licences are compared by rules that SQL does not have, so the matching ones are chosen here, by name.
    let mut fitting = if filter.licences.is_empty() {
        Vec::new()
    } else {
        licences()?
    };
    fitting.retain(|licence| {
        filter
            .licences
            .iter()
            .any(|wanted| licence_fits(licence, wanted))
    });
    let mut conditions = no_conditions(first);
    conditions.add(
        &TrackFilter {
            genres,
            exclude_genres,
            ..filter.clone()
        },
        fitting,
    )?;
    Ok(conditions)
}

/// The values of conditions.
pub(super) fn values(conditions: &FilterSql) -> impl Iterator<Item = &dyn SqlParameter> {
    conditions.values.iter().map(|value| -> &dyn SqlParameter {
        match value {
            FilterValue::Year(value) => value,
            FilterValue::Real(value) => value,
            FilterValue::Text(value) => value,
            FilterValue::Texts(value) => value,
            FilterValue::Path(value) => value,
            FilterValue::Keys(value) => value,
        }
    })
}
