//! All settings of a run, as `config.toml` in its folder.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::LabError;
use super::model::{Algorithm, AlgorithmSettings};
use super::networks::NetworkSettings;
use super::training::NetworkRecipe;
use voisin_base::regular_file;

const LARGEST: u64 = 1 << 20;

/// Every setting that affects the result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Kind of run: `features`, `auto` (the settings of [`Config::auto`]), or a network's name.
    pub recipe: String,
    pub seed: u64,
    pub data: Data,
    pub features: Features,
    pub algorithms: Algorithms,
    pub settings: AlgorithmSettings,
    /// Settings of a network's recipe, which has no features and no algorithms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSettings>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// `KIND:PATH` with its options.
    pub source: String,
    pub label: String,
    /// How the data is split: auto, given, artist, folder, track, or a CSV file.
    pub split: String,
    /// Folds of the cross-validation; 0: one held-out part.
    pub folds: usize,
    /// Repeats of the cross-validation, each with other folds.
    pub repeats: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Sets, concatenated: `own`, `mfcc`, `mel` …, `model:NAME`.
    pub sets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Algorithms {
    /// In the order of fitting; of equally good ones the first is chosen.
    pub names: Vec<Algorithm>,
    /// Whether the best one predicts, or an ensemble.
    pub combine: Combine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
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
        };
        Self {
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
    /// The default settings, changed by `KEY=VALUE` pairs; the last of several for one key counts.
    pub fn changed(pairs: &[(String, String)]) -> Result<Self, LabError> {
        let recipe = pairs.iter().rfind(|(key, _)| key == "recipe");
        let recipe = recipe.map_or("features", |(_, recipe)| recipe.trim_matches('"'));
        // The defaults depend on the recipe, so it is applied before any other key.
        let mut config = Self::of_recipe(recipe);
        for (key, text) in pairs {
            config = config
                .with(key, value_of(text))
                .map_err(|problem| LabError::Options(format!("{key}={text}: {problem}")))?;
        }
        config.check().map_err(LabError::Options)
    }

    /// The configuration with another value of a key, such as `data.folds`.
    fn with(&self, key: &str, value: Value) -> Result<Self, String> {
        let mut table = self.table();
        let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
        let mut at = &mut table;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let Some(Value::Table(inner)) = at.get_mut(part) else {
                return Err(format!(
                    "there is no table {part} in this run's config.toml"
                ));
            };
            at = inner;
        }
        // a whole number for a fraction
        let value = match (at.get(last), value) {
            (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
            (_, value) => value,
        };
        at.insert(last.to_owned(), value);
        // Unknown keys and wrong types are refused here.
        let config: Result<Self, _> = Value::Table(table).try_into();
        config.map_err(|error: toml::de::Error| error.message().trim_end().to_owned())
    }

    /// Settings that need no choice: algorithms of several kinds, the cheapest first,
    /// cross-validated and combined into an ensemble.
    fn auto() -> Self {
        let mut config = Self {
            recipe: "auto".to_owned(),
            ..Self::default()
        };
        config.data.folds = 5;
        // without the baseline
        let names = Algorithm::ALL[1..].iter();
        config.algorithms = Algorithms {
            names: names.map(|(_, algorithm)| *algorithm).collect(),
            combine: Combine::Select,
        };
        config
    }

    /// The default settings of a recipe; those of `features` for an unknown one.
    fn of_recipe(recipe: &str) -> Self {
        match NetworkRecipe::named(recipe) {
            Some(network) => Self {
                recipe: recipe.to_owned(),
                network: Some(NetworkSettings::of(&network)),
                ..Self::default()
            },
            None if recipe == "auto" => Self::auto(),
            None => Self::default(),
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

    pub fn of_run(run: &Path) -> Result<Self, LabError> {
        if !run.is_dir() {
            let problem = "no such folder; voisin lab train makes one";
            return Err(LabError::run(run, problem));
        }
        let path = run.join("config.toml");
        let text = regular_file::read_text(&path, LARGEST).map_err(LabError::io(&path))?;
        let config: Result<Self, _> = toml::from_str(&text);
        config
            .map_err(|error: toml::de::Error| error.message().to_owned())
            .and_then(Self::check)
            .map_err(|problem| LabError::run(&path, problem))
    }

    fn check(self) -> Result<Self, String> {
        let Data { folds, repeats, .. } = self.data;
        in_range(&[
            ("data.folds", folds as f64, 0.0, 100.0),
            ("data.repeats", repeats as f64, 1.0, 100.0),
        ])?;
        let is_joined = self.algorithms.combine == Combine::Select;
        if folds == 1 || folds == 0 && (repeats > 1 || is_joined) {
            let expected = "data.folds: expected 2 to 100, or 0 without repeats and ensemble";
            return Err(expected.to_owned());
        }
        if self.algorithms.names.is_empty() {
            return Err("algorithms.names: expected at least one algorithm".to_owned());
        }
        match (NetworkRecipe::named(&self.recipe), &self.network) {
            (Some(recipe), Some(network)) => network.check(&recipe)?,
            (None, None) if ["features", "auto"].contains(&&*self.recipe) => {}
            _ => return Err(format!("there is no recipe \"{}\"", self.recipe)),
        }
        self.settings.check()?;
        Ok(self)
    }
}

/// Checks that numbers are in range: name, value, least and most of each.
pub(super) fn in_range(numbers: &[(&str, f64, f64, f64)]) -> Result<(), String> {
    for (key, value, least, most) in numbers {
        if !(least..=most).contains(&value) {
            return Err(format!("{key}: expected {least} to {most}"));
        }
    }
    Ok(())
}

/// A value as in a line of TOML; anything that does not parse is text.
fn value_of(text: &str) -> Value {
    // Numbers, lists and quoted texts are read as in the file, and a bare word is text.
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(list: &[(&str, &str)]) -> Result<Config, LabError> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Config::changed(&list.iter().map(owned).collect::<Vec<_>>())
    }

    #[test]
    fn settings_go_to_a_file_and_back() {
        let config = changed(&[("settings.svm.c", "3"), ("data.source", "folder:a b")]).unwrap();
        assert_eq!(
            (config.settings.svm.c, config.data.source.as_str()),
            (3.0, "folder:a b")
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config.text()).unwrap();
        assert_eq!(Config::of_run(folder.path()).unwrap(), config);
        let network = [
            ("recipe", "baseline-cnn"),
            ("network.training.rate", "0.5"),
            ("network.training.patience", "3"),
        ];
        let training = changed(&network).unwrap().network.unwrap().training;
        assert_eq!((training.patience, training.rate), (3, 0.5));
    }
}
