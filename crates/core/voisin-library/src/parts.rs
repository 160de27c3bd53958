//! The methods of a library, grouped by subject.

use super::Library;

voisin_base::parts! {
    Library:
    /// Counters of changes, and the tracks that changed.
    ChangeTable changes;
    /// Facts other than vectors that are computed from tracks' sound.
    DerivedTable derived derived_mut;
    /// Files: where tracks are, what failed, what is missing, moved or left out.
    FileTable files files_mut;
    /// Labels given by hand.
    LabelTable labels labels_mut;
    /// Tracks by words, names and licences.
    Lookup lookup;
    /// Scales: numbers of each track.
    ScaleTable scales scales_mut;
    /// Settings.
    SettingTable settings settings_mut;
    /// Tags of files, and tags that voisin wrote into files.
    TagTable tags tags_mut;
    /// Recordings with all their data, to and from other libraries.
    TransferTable transfer transfer_mut;
}
