//! The parts of a library: its methods by subject.

use super::Library;

voisin_base::parts! {
    Library:
    /// Counters of changes, and the tracks that changed.
    ChangeTable changes;
    /// Facts computed from tracks' sound beside their vectors, which can be computed again.
    DerivedTable derived derived_mut;
    /// Files: where tracks are, what failed, what is missing, moved or left out.
    FileTable files files_mut;
    /// Plays, likes and ratings.
    HistoryTable history history_mut;
    /// Labels given by hand.
    LabelTable labels labels_mut;
    /// Ids under which other servers know tracks and artists.
    LinkTable links links_mut;
    /// Saved lists.
    ListTable lists lists_mut;
    /// Tracks by words, names and licences.
    Lookup lookup;
    /// Scales: a number of each track, and its definition.
    ScaleTable scales scales_mut;
    /// Settings, and the rules by which tags are read.
    SettingTable settings settings_mut;
    /// Vector spaces: models whose vectors are kept beside those of the current one.
    SpaceTable spaces spaces_mut;
    /// Tags as files have them, and those that were written into files.
    TagTable tags tags_mut;
    /// Recordings with all that is known of them, from and to other libraries.
    TransferTable transfer transfer_mut;
    /// The change to another model.
    UpgradeTable upgrades upgrades_mut;
}
