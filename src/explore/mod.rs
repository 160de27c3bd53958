//! The shape of a collection: clusters, map, paths, playlists, duplicates, outliers.
