//! Which rows of a job's data train and which validate: by chance, by class, by group, or by time.

use crate::data::{
    Column, Kind, Split, folds, folds_grouped, folds_stratified, groups_of, split, split_grouped,
    split_latest, split_stratified,
};
use crate::model::{Violations, known};
use crate::train::check::DatasetView;
use crate::train::layout::numbers;
use crate::train::samples::class_codes;
use crate::train::{
    CheckedData, CheckedSpec, CheckedValidation, CrossValidationSpec, Error, JobSpec, Missing,
    Source, ValidationSpec,
};

/// The column that rows are split by, and where the spec names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SplitBy<'a> {
    pub(crate) column: &'a str,
    pub(crate) pointer: &'static str,
    is_time: bool,
}

impl<'a> SplitBy<'a> {
    /// That of a job, where there is one.
    pub(crate) fn of(spec: &'a JobSpec) -> Option<Self> {
        let validation = spec.validation.as_ref().and_then(Self::of_validation);
        validation.or_else(|| Self::of_folds(spec.cross_validation.as_ref()?))
    }

    /// That of a cross-validation, where there is one.
    pub(crate) fn of_folds(cross_validation: &'a CrossValidationSpec) -> Option<Self> {
        Some(Self {
            column: cross_validation.group.as_ref()?,
            pointer: "/cross_validation/group",
            is_time: false,
        })
    }

    /// That of a validation, where there is one.
    pub(crate) fn of_validation(validation: &'a ValidationSpec) -> Option<Self> {
        let by = |column: &'a String, pointer, is_time| Self {
            column,
            pointer,
            is_time,
        };
        let group = validation.group.as_ref();
        let time = validation.time.as_ref();
        group
            .map(|column| by(column, "/validation/group", false))
            .or_else(|| time.map(|column| by(column, "/validation/time", true)))
    }

    /// Notes what is wrong with the column; its values, where nothing is.
    pub(crate) fn check<'v>(
        self,
        data: &CheckedData,
        view: Option<&'v DatasetView>,
        violations: &mut Violations,
    ) -> Option<&'v Column> {
        let Self {
            column: name,
            pointer,
            is_time,
        } = self;
        let (
            Some(view),
            CheckedData::Dataset {
                targets, missing, ..
            },
        ) = (view, data)
        else {
            let detail = format!(
                "must be left out where data is inline: it names a column of a dataset, got {name:?}"
            );
            violations.add(pointer, detail);
            return None;
        };
        let columns = view.columns.iter();
        let Some(column) = columns.clone().find(|column| column.name == name) else {
            let names: Vec<_> = columns.map(|column| &column.name).collect();
            let known = known(name, &names);
            let detail = format!("must name a column of the dataset, got {name:?}: {known}");
            violations.add(pointer, detail);
            return None;
        };
        let before = violations.len();
        if targets.iter().any(|target| target == name) {
            let detail = format!("must not be a target, got {name:?}");
            violations.add(pointer, detail);
        }
        if is_time && column.kind == Kind::Categorical {
            let detail = format!("must be a numeric column, got {name:?}, which holds words");
            violations.add(pointer, detail);
        }
        if column.missing > 0 && *missing == Missing::Error {
            let (count, what) = (column.missing, if is_time { "time" } else { "group" });
            let (values, them) = if count == 1 {
                ("value", "it")
            } else {
                ("values", "them")
            };
            let detail = format!(
                "must have a {what} for each row, and column {name:?} has {count} missing {values}: give \"missing\":\"drop_rows\" in data, or fill {them} in"
            );
            violations.add(pointer, detail);
        }
        let is_sound = violations.len() == before;
        view.loaded.get(name).filter(|_| is_sound)
    }
}

/// The rows to train on and those to validate on, of the rows `kept` of a run's data.
pub(super) fn split_rows(
    spec: &CheckedSpec,
    source: &Source,
    kept: &[u32],
) -> Result<Split, Error> {
    let seed = spec.seed;
    if let (Some(cross_validation), Some(fold)) = (&spec.cross_validation, source.left_out) {
        let count = cross_validation.folds as usize;
        let dealt = if cross_validation.group.is_some() {
            folds_grouped(&groups_of(column(source)?, kept), count, seed)
        } else if cross_validation.stratified {
            let classes = class_codes(&source.data, &spec.targets, kept)?;
            folds_stratified(&classes, count, seed)
        } else {
            folds(kept.len(), count, seed)
        };
        let dealt = dealt
            .map_err(|error| unusable(&error))?
            .into_iter()
            .zip(kept);
        let (validation, train): (Vec<_>, Vec<_>) = dealt.partition(|(of_row, _)| *of_row == fold);
        let rows = |dealt: Vec<(u32, &u32)>| dealt.into_iter().map(|(_, row)| *row).collect();
        return Ok(Split {
            train: rows(train),
            validation: rows(validation),
        });
    }
    let Some(CheckedValidation::Fraction {
        fraction,
        stratified,
        group,
        time,
    }) = &spec.validation
    else {
        return Ok(Split {
            train: kept.to_vec(),
            validation: Vec::new(),
        });
    };
    let fraction = *fraction;
    let split = if group.is_some() {
        split_grouped(&groups_of(column(source)?, kept), fraction, seed)
    } else if time.is_some() {
        split_latest(&numbers(column(source)?, kept), fraction)
    } else if *stratified {
        let classes = class_codes(&source.data, &spec.targets, kept)?;
        split_stratified(&classes, fraction, seed)
    } else {
        split(kept.len(), fraction, seed)
    };
    let split = split.map_err(|error| unusable(&error))?;
    let rows = |chosen: Vec<u32>| {
        let chosen = chosen.into_iter();
        chosen.map(|index| kept[index as usize]).collect()
    };
    Ok(Split {
        train: rows(split.train),
        validation: rows(split.validation),
    })
}

fn unusable(error: &crate::data::Error) -> Error {
    Error::Data {
        detail: error.to_string(),
    }
}

fn column(source: &Source) -> Result<&Column, Error> {
    let column = source.split_by.as_ref();
    column.ok_or_else(|| Error::Data {
        detail: "the column that its rows are split by is not among it".to_owned(),
    })
}
