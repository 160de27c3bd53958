//! All settings of a run, as `config.toml` in its folder.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::LabError;
use super::model::{Algorithm, AlgorithmSettings};
use super::networks::NetworkSettings;
use voisin_base::regular_file;
use voisin_base::text::{did_you_mean, spelt_alike};
use voisin_train::classifier::NetworkRecipe;

/// Largest configuration that is read.
const LARGEST: u64 = 1 << 20;

/// Every setting that affects the result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this file.
    pub format: u32,
    /// Kind of run: `features`, `auto` (the settings of [`Config::auto`]), or a network's name.
    pub recipe: String,
    /// Seed of random numbers.
    pub seed: u64,
    /// The data.
    pub data: Data,
    /// The features.
    pub features: Features,
    /// The algorithms, in the order of fitting.
    pub algorithms: Algorithms,
    /// Settings of the algorithms.
    pub settings: AlgorithmSettings,
    /// Settings of a network's recipe, which has no features and no algorithms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSettings>,
}

/// The data of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// `KIND:PATH` with its options.
    pub source: String,
    /// The column to predict; `genre` for the default one.
    pub label: String,
    /// How the data is split: auto, given, artist, album, folder, track, lists:DIR or a CSV file.
    pub split: String,
    /// Folds of the cross-validation; 0: one held-out part.
    pub folds: usize,
    /// Repeats of the cross-validation, each with other folds.
    pub repeats: usize,
    /// The share of the training tracks to train on, the same of every class.
    pub share: f64,
}

/// The features of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Sets, concatenated: `own`, `mfcc`, `mel` …, `model:NAME`.
    pub sets: Vec<String>,
}

/// The algorithms of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Algorithms {
    /// In the order of fitting; of equally good ones the first is chosen.
    pub names: Vec<Algorithm>,
    /// Whether the best one predicts, or an ensemble.
    pub combine: Combine,
}

/// How algorithms are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// The best one predicts.
    None,
    /// An ensemble of those that improve it, with weights fitted on held-out tracks.
    Select,
}

impl Default for Config {
    fn default() -> Self {
        let data = Data {
            source: String::new(),
            label: "genre".to_owned(),
            split: "auto".to_owned(),
            folds: 0,
            repeats: 1,
            share: 1.0,
        };
        Self {
            format: 1,
            recipe: "features".to_owned(),
            seed: 1,
            data,
            features: Features { sets: Vec::new() },
            algorithms: Algorithms {
                names: vec![Algorithm::Logistic],
                combine: Combine::None,
            },
            settings: AlgorithmSettings::default(),
            network: None,
        }
    }
}

impl Config {
    /// The default settings, changed by a file and then by `KEY=VALUE` pairs.
    pub fn changed(file: Option<&Path>, pairs: &[(String, String)]) -> Result<Self, LabError> {
        let file = file
            .map(|path| read_table(path).map(|table| (path, table)))
            .transpose()?;
        let from_file = file
            .as_ref()
            .and_then(|(_, table)| table.get("recipe")?.as_str().map(str::to_owned));
        // The last of several pairs counts, as for all other keys.
        let from_pairs = pairs
            .iter()
            .rev()
            .find(|(key, _)| key == "recipe")
            .map(|(_, value)| value);
        let recipe = from_pairs
            .or(from_file.as_ref())
            .map_or("features", |recipe| recipe.trim_matches('"'));
        // The defaults depend on the recipe, so it is applied before any other key.
        let mut table = Self::of_recipe(recipe).table();
        if let Some((path, file)) = file {
            // The file before the pairs, which take precedence.
            merge(&mut table, &file, "").map_err(|problem| LabError::run(path, problem))?;
        }
        for (key, text) in pairs {
            let value = value_of(text);
            set(&mut table, key, value)
                .map_err(|problem| LabError::Options(format!("{key}={text}: {problem}")))?;
        }
        let config: Self = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| LabError::Options(error.message().to_owned()))?;
        config.check()
    }

    /// Settings that need no choice: algorithms of several kinds, the cheapest first,
    /// cross-validated and combined into an ensemble.
    pub fn auto() -> Self {
        let mut config = Self {
            recipe: "auto".to_owned(),
            ..Self::default()
        };
        config.data.folds = 5;
        config.algorithms = Algorithms {
            // without the two baselines, and the genre engine, which has its own validation
            names: Algorithm::ALL[2..9]
                .iter()
                .map(|(_, algorithm)| *algorithm)
                .collect(),
            combine: Combine::Select,
        };
        config
    }

    /// The default settings of a recipe; those of `features` for an unknown one.
    fn of_recipe(recipe: &str) -> Self {
        if let Some(network) = NetworkRecipe::named(recipe) {
            let network = Some(NetworkSettings::of(&network));
            return Self {
                recipe: recipe.to_owned(),
                network,
                ..Self::default()
            };
        }
        if recipe == "auto" {
            Self::auto()
        } else {
            Self::default()
        }
    }

    fn table(&self) -> Table {
        Table::try_from(self).unwrap_or_default()
    }

    /// As TOML, the form in the run's folder.
    pub fn text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// The settings with an effect: those of its network, or of its algorithms.
    pub fn shown(&self) -> String {
        let mut table = self.table();
        if self.network.is_some() {
            // the defaults of these tables have no effect on a network
            table.retain(|key, _| !["settings", "features", "algorithms"].contains(&key));
        }
        let names: Vec<&str> = self.algorithms.names.iter().map(|one| one.name()).collect();
        if let Some(Value::Table(settings)) = table.get_mut("settings") {
            settings.retain(|key, _| names.contains(&key));
        }
        toml::to_string(&table).unwrap_or_default()
    }

    /// The configuration of a run.
    pub fn of_run(run: &Path) -> Result<Self, LabError> {
        if !run.is_dir() {
            return Err(LabError::run(
                run,
                "no such folder; voisin lab train makes one",
            ));
        }
        let path = run.join("config.toml");
        let table = read_table(&path)?;
        let config: Result<Self, _> = Value::Table(table).try_into();
        config
            .map_err(|error: toml::de::Error| LabError::run(&path, error.message().to_owned()))?
            .check()
            .map_err(|error| LabError::run(&path, error.to_string()))
    }

    /// The first key whose values differ: the key, and both values, "nothing" if a key is not set.
    pub fn first_difference(&self, other: &Self) -> Option<(String, String, String)> {
        let mut mine = Vec::new();
        let mut theirs = Vec::new();
        flatten(&self.table(), "", &mut mine);
        flatten(&other.table(), "", &mut theirs);
        // By name, since a network's settings, and some of its values, are optional.
        let value = |all: &[(String, String)], key: &str| {
            let found = all.iter().find(|(name, _)| name == key);
            found.map_or_else(|| "nothing".to_owned(), |(_, value)| value.clone())
        };
        let keys = mine.iter().chain(&theirs).map(|(key, _)| key);
        keys.map(|key| (key.clone(), value(&mine, key), value(&theirs, key)))
            .find(|(_, a, b)| a != b)
    }

    fn check(self) -> Result<Self, LabError> {
        match self.problem() {
            Ok(()) => Ok(self),
            Err(text) => Err(LabError::Options(self.with_value(text))),
        }
    }

    fn problem(&self) -> Result<(), String> {
        let Data {
            folds,
            repeats,
            share,
            ..
        } = self.data;
        for (fits, expected) in [
            (
                self.format == 1,
                "format: expected 1: it is of a later voisin",
            ),
            (
                folds != 1 && folds <= 100,
                "data.folds: expected 0 or 2 to 100",
            ),
            (
                (1..=100).contains(&repeats),
                "data.repeats: expected 1 to 100",
            ),
            (
                folds > 0 || repeats == 1,
                "data.folds: expected 2 to 100: repeats need folds",
            ),
            (
                share > 0.0 && share <= 1.0,
                "data.share: expected more than 0, at most 1",
            ),
            (
                !self.algorithms.names.is_empty(),
                "algorithms.names: expected at least one algorithm",
            ),
        ] {
            if !fits {
                return Err(expected.to_owned());
            }
        }
        self.check_recipe()?;
        self.settings.check()
    }

    /// Adds the value found to a message "KEY: expected …", before its explanation.
    fn with_value(&self, text: String) -> String {
        // Checks return constant texts; the value is looked up only for the one that failed.
        let Some((key, expected)) = text.split_once(": expected ") else {
            return text;
        };
        let mut all = Vec::new();
        flatten(&self.table(), "", &mut all);
        let Some((_, found)) = all.iter().find(|(name, _)| name == key) else {
            return text;
        };
        // An explanation, if any, follows a second colon.
        let (expected, why) = expected.split_once(": ").unwrap_or((expected, ""));
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        format!("{key}: expected {expected}, found {found}{why}")
    }

    /// Checks that the recipe exists and that its network can be built.
    fn check_recipe(&self) -> Result<(), String> {
        if let Some(recipe) = NetworkRecipe::named(&self.recipe) {
            let network = self
                .network
                .as_ref()
                .ok_or("network: expected the table of its settings")?;
            return network.check(&recipe);
        }
        if self.network.is_some() {
            return Err(format!("network: the recipe {} has none", self.recipe));
        }
        let known: Vec<&str> = ["features", "auto"].into_iter().chain(networks()).collect();
        if known.contains(&self.recipe.as_str()) {
            Ok(())
        } else {
            Err(format!(
                "there is no recipe \"{}\": expected one of {}",
                self.recipe,
                known.join(", ")
            ))
        }
    }
}

/// Names of the recipes that are networks.
fn networks() -> impl Iterator<Item = &'static str> {
    NetworkRecipe::ALL.into_iter().map(|recipe| recipe.name)
}

/// A value as in a line of TOML; anything that does not parse is text.
fn value_of(text: &str) -> Value {
    // Numbers, lists and quoted texts are read as in the file, and a bare word is text.
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn read_table(path: &Path) -> Result<Table, LabError> {
    let text = regular_file::read_text(path, LARGEST).map_err(LabError::io(path))?;
    text.parse().map_err(|error: toml::de::Error| {
        LabError::run(path, error.to_string().trim_end().to_owned())
    })
}

fn flatten(table: &Table, before: &str, out: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let key = format!("{before}{key}");
        match value {
            Value::Table(inner) => flatten(inner, &format!("{key}."), out),
            value => out.push((key, value.to_string())),
        }
    }
}

/// Applies every value of a file; an unknown key is an error.
fn merge(table: &mut Table, file: &Table, before: &str) -> Result<(), String> {
    for (key, value) in file {
        let key = format!("{before}{key}");
        match value {
            Value::Table(inner) => merge(table, inner, &format!("{key}."))?,
            // Through `set`, which checks that the key is known and of the right type.
            value => set(table, &key, value.clone())?,
        }
    }
    Ok(())
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let mut known = Vec::new();
    flatten(table, "", &mut known);
    // a unique ending such as `svm.c` is enough; of several keys that of the network, if there is one
    let ending = format!(".{key}");
    let ends = |name: &&str| *name == key || name.ends_with(&ending);
    let mut meant: Vec<&str> = known
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(ends)
        .collect();
    if meant.len() > 1 && meant.iter().any(|name| name.starts_with("network.")) {
        meant.retain(|name| name.starts_with("network."));
    }
    let [name] = meant[..] else {
        if meant.len() > 1 {
            let n = meant.len();
            let names = meant.join(" and ");
            return Err(format!(
                "expected one key, found {n} with this ending, {names}: write more of it"
            ));
        }
        // A key that only networks have is no misspelling; the next step is to name a recipe.
        let mut of_networks = Vec::new();
        flatten(
            &Config::of_recipe("baseline-cnn").table(),
            "",
            &mut of_networks,
        );
        if of_networks.iter().any(|(name, _)| ends(&name.as_str())) {
            return Err(format!("only networks have {key}: name one with --recipe"));
        }
        // a key may be written with or without its tables, so suggestions compare every ending
        let endings = |name: &'_ str| {
            name.match_indices('.')
                .map(|(at, _)| at + 1)
                .collect::<Vec<_>>()
        };
        let names = known.iter().map(|(name, _)| name.as_str());
        let names =
            names.flat_map(|name| endings(name).into_iter().chain([0]).map(|at| &name[at..]));
        let near = spelt_alike(key, names);
        return Err(format!(
            "there is no key \"{key}\"; {}",
            if near.is_empty() {
                "a run's config.toml has them all".to_owned()
            } else {
                did_you_mean(&near)
            }
        )
        .trim_end()
        .to_owned());
    };
    let name = name.to_owned();
    let mut parts = name.split('.').collect::<Vec<_>>();
    let last = parts.pop().unwrap_or_default();
    let mut at = &mut *table;
    for part in parts {
        let Some(Value::Table(inner)) = at.get_mut(part) else {
            return Err(format!("no table {part}"));
        };
        at = inner;
    }
    // a whole number for a fraction
    let value = match (at.get(last), value) {
        (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    let found = value.to_string();
    at.insert(last.to_owned(), value);
    // Checked after each key, since serde's error names the expected type, but not the key.
    let fitting: Result<Config, _> = Value::Table(table.clone()).try_into();
    fitting.map(|_| ()).map_err(|error: toml::de::Error| {
        let message = error.message();
        let kind = match message
            .strip_prefix("invalid ")
            .and_then(|message| message.rsplit_once(", expected "))
        {
            Some((_, "f64")) => "a number",
            Some((_, "usize" | "u64" | "u32")) => "a whole number, 0 or more",
            Some((_, "a boolean")) => "true or false",
            Some((_, "a string")) => "text",
            Some((_, "a sequence")) => "a list",
            _ => return format!("{name}: {}", message.trim_end()),
        };
        format!("{name}: expected {kind}, found {found}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn settings_go_to_a_file_and_back() {
        let config = Config::changed(
            None,
            &pairs(&[("svm.c", "3"), ("data.source", "folder:a b")]),
        )
        .unwrap();
        assert_eq!(
            (config.settings.svm.c, config.data.source.as_str()),
            (3.0, "folder:a b")
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config.text()).unwrap();
        assert_eq!(Config::of_run(folder.path()).unwrap(), config);
        let again = Config::changed(Some(&folder.path().join("config.toml")), &[]).unwrap();
        assert_eq!(again, config);
        let other =
            Config::changed(None, &pairs(&[("svm.c", "3"), ("data.source", "folder:b")])).unwrap();
        let (key, mine, theirs) = config.first_difference(&other).unwrap();
        assert_eq!(
            [key.as_str(), &mine, &theirs],
            ["data.source", "\"folder:a b\"", "\"folder:b\""]
        );
        assert_eq!(config.first_difference(&config), None);
    }

    #[test]
    fn a_missing_setting_is_a_difference() {
        let network = Config::of_recipe("baseline-cnn");
        let without = Config {
            network: None,
            ..network.clone()
        };
        let (key, mine, theirs) = network.first_difference(&without).unwrap();
        assert!(key.starts_with("network."), "{key}");
        assert_eq!(theirs, "nothing");
        let swapped = without.first_difference(&network);
        assert_eq!(swapped, Some((key, theirs, mine)));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let message = |key: &str, value: &str| {
            Config::changed(None, &pairs(&[(key, value)]))
                .unwrap_err()
                .to_string()
        };
        assert!(
            message("data.splt", "x").contains("did you mean data.split"),
            "{}",
            message("data.splt", "x")
        );
        assert!(
            message("forest.tree", "9").contains("did you mean forest.trees"),
            "{}",
            message("forest.tree", "9")
        );
        assert!(
            message("svm.c", "-1").ends_with("settings.svm.c: expected more than 0, found -1.0")
        );
        assert!(
            message("data.repeats", "3")
                .ends_with("data.folds: expected 2 to 100, found 0: repeats need folds")
        );
        let text = message("seed", "\"x\"");
        assert!(
            text.ends_with("seed: expected a whole number, 0 or more, found \"x\""),
            "{text}"
        );
        assert!(message("svm.c", "x").ends_with("settings.svm.c: expected a number, found \"x\""));
        assert!(
            message("epochs", "3").contains("only networks have epochs: name one with --recipe")
        );
        let text = message("columns", "3");
        let expected = "found 2 with this ending, settings.boost.columns and settings.forest.columns: write more";
        assert!(text.contains(expected), "{text}");
        assert!(Config::changed(None, &pairs(&[("patience", "3")])).is_ok());
        let network = [
            ("recipe", "baseline-cnn"),
            ("patience", "3"),
            ("rate", "0.5"),
        ];
        let config = Config::changed(None, &pairs(&network)).unwrap();
        let training = config.network.unwrap().training;
        assert_eq!((training.patience, training.rate), (3, 0.5));
        assert_eq!(config.settings, AlgorithmSettings::default());
        assert!(message("forest.trees", "0").contains("forest.trees"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[data]\nsource = \"x\"\nwhat = 1\n").unwrap();
        let error = Config::changed(Some(&path), &[]).unwrap_err().to_string();
        assert!(error.contains("there is no key \"data.what\""), "{error}");
        std::fs::write(&path, "= =").unwrap();
        assert!(Config::changed(Some(&path), &[]).is_err());
    }
}
