//! An example to read bodies for and to take artifacts of: a table, a model of numbers, and one declared from the table.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use gradientd::data::{
    Column, CsvOptions, Error, Kinds, Piece, Reading, Sink, TableLimits, read_csv,
};
use gradientd::http::parse;
use gradientd::model::{Header, Model, ModelDeclaration, ModelLimits, TableView, Violation};
use gradientd::nn::Team;
use gradientd::train::{
    CheckedSpec, Checkpoint, Context, DatasetView, EpochReport, JobLimits, JobSpec, Observer,
    Outcome, RawSamples, Source, check, train,
};

const TABLE_LIMITS: TableLimits = TableLimits {
    columns: 16,
    cells: 1000,
    cell_bytes: 100,
    categories: 100,
    category_bytes: 10_000,
};
pub(super) const MODEL_LIMITS: ModelLimits = ModelLimits {
    layers: 8,
    units: 64,
    inputs: 64,
    parameters: 10_000,
};
const JOB_LIMITS: JobLimits = JobLimits {
    epochs: 1000,
    batch_size: 1000,
    steps: 1_000_000,
    batch_activations: 1 << 20,
    classes: 100,
    seconds: 60,
    data_bytes: 1 << 20,
};

/// What the dataset and its digest are called.
const NAME: &str = "houses";
const DIGEST: &str = "d";

const TABLE: &[u8] = b"city,area,built,lift,rooms,price\nBonn,50,2001-03-01,true,2,100\nKiel,80,1990-07-15,false,3,\n\
    Bonn,,2010-01-31T12:00:00Z,false,2,130\nUlm,120,1985-12-24,,4,260\nKiel,65,1999-05-05,true,2,140\n\
    Ulm,95,2015-10-10,true,3,230\nBonn,70,1970-01-01,false,3,120\nKiel,150,2020-02-29,true,5,330\n";

/// A model of two numbers.
pub(super) const PLAIN: &str = r#"{"name":"xor","inputs":2,"preprocess":"standardize","seed":1,"loss":"cross_entropy",
    "layers":[{"units":3,"activation":"tanh","normalization":"layer"},{"units":1,"activation":"sigmoid"}]}"#;
/// A model of the table's columns.
pub(super) const DECLARED: &str = r#"{"name":"city","dtype":"float64","dataset":"houses","target":"city","seed":2,
    "hidden":[{"units":3,"activation":{"type":"elu","alpha":0.5},"normalization":"batch"}],"columns":[
    {"name":"area","scale":"robust","impute":"median"},{"name":"built","scale":"minmax"},
    {"name":"rooms","kind":"categorical","encode":{"type":"embedding","dimensions":2},"unknown":"zeros"},
    {"name":"lift","impute":"most_frequent"},{"name":"price","scale":"log","impute":{"type":"constant","value":100}}]}"#;
/// Jobs of the two.
pub(super) const JOBS: [&str; 2] = [
    r#"{"model":"xor","epochs":2,"data":{"inputs":[[0,0],[0,1],[1,0],[1,1]],"targets":[[0],[1],[1],[0]],
        "sample_weight":[1,2,0.5,1]},"optimizer":{"type":"adam","learning_rate":0.01},"batch_size":2,"target_metric":{
        "metric":"accuracy","value":1},"metrics":["accuracy"],"schedule":{"type":"cosine"},"warmup_epochs":0.5}"#,
    r#"{"model":"city","epochs":2,"data":{"missing":"drop_rows"},"optimizer":{"type":"gradient_descent","learning_rate":0.1,
        "momentum":0.9},"validation":{"fraction":0.25},"class_weight":"balanced","metadata":{"a":"b"},"early_stopping":{
        "patience":3,"restore_best":true},"regularization":{"l2":0.001,"dropout":0.2,"input_noise":0.1}}"#,
];

/// What bodies are read for.
pub(super) struct Example {
    pub(super) columns: Vec<Column>,
    /// Of numbers, then of columns; both trained.
    pub(super) models: [Model; 2],
    pub(super) checkpoints: Vec<Checkpoint>,
    /// Rows of a job as they are stored.
    pub(super) inline: Vec<u8>,
}

static EXAMPLE: LazyLock<Example> = LazyLock::new(Example::make);

/// It is made once.
pub(super) fn example() -> &'static Example {
    &EXAMPLE
}

struct Kept<'a>(&'a mut Vec<Piece>);

impl Sink for Kept<'_> {
    fn take(&mut self, piece: Piece) -> Result<(), Error> {
        self.0.push(piece);
        Ok(())
    }
}

/// Keeps the checkpoints of a run.
#[derive(Default)]
struct Witness(Vec<Checkpoint>);

impl Observer for Witness {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn poll(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn wants_checkpoint(&mut self, _epoch_end: bool) -> bool {
        true
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.0.push(checkpoint);
    }

    fn epoch(&mut self, _report: EpochReport) {}
}

fn table() -> Vec<Column> {
    let mut pieces = Vec::new();
    let reading = Reading {
        limits: TABLE_LIMITS,
        kinds: Kinds::new(),
        base: None,
        sink: Kept(&mut pieces),
    };
    let taken = read_csv(TABLE, &CsvOptions::default(), reading).expect("a table");
    let columns = taken.columns.into_iter().enumerate();
    let columns = columns.map(|(index, description)| {
        let chunks = pieces.iter().filter(|piece| piece.column == index);
        Column::decode(description, chunks.map(|piece| &piece.bytes)).expect("its chunks")
    });
    columns.collect()
}

/// Columns by their names.
fn named(columns: &[Column], names: &[String]) -> Vec<Column> {
    let find = |name| columns.iter().find(|column| column.name() == name);
    let found = names.iter().map(|name| find(name).expect("a column"));
    found.cloned().collect()
}

/// The table as a declaration sees it.
pub(super) fn view_of_declaration(columns: &[Column], declaration: &ModelDeclaration) -> TableView {
    let descriptions: Vec<_> = columns.iter().map(Column::description).cloned().collect();
    let names = declaration.to_load(&descriptions);
    let words = named(columns, &names);
    let words = words
        .iter()
        .map(|column| column.classes(100).unwrap_or_default());
    TableView {
        words: names.iter().cloned().zip(words).collect(),
        columns: descriptions,
    }
}

/// The table as a job sees it, where the job names it.
fn view_of_job(
    columns: &[Column],
    (name, split_by): (Option<&str>, Option<&str>),
    spec: &JobSpec,
    header: &Header,
) -> Option<DatasetView> {
    name.filter(|name| *name == NAME)?;
    let descriptions: Vec<_> = columns.iter().map(Column::description).cloned().collect();
    let names = DatasetView::to_load(&spec.data, split_by, header, &descriptions);
    let loaded = named(columns, &names);
    Some(DatasetView {
        name: NAME.to_owned(),
        digest: DIGEST.to_owned(),
        columns: descriptions,
        loaded: names.into_iter().zip(loaded).collect(),
        split_by: split_by.map(str::to_owned),
    })
}

/// Checks a job of a model, as it is done before it is stored: the spec, and its rows where it brings them.
pub(super) fn checked(
    columns: &[Column],
    model: &Model,
    spec: JobSpec,
) -> Result<(CheckedSpec, Option<Vec<u8>>), Vec<Violation>> {
    let header = model.header();
    let spec = spec.completed(&header, header.columns.as_ref().map(|_| NAME));
    let (data, split_by) = (spec.data.dataset.as_deref(), spec.split_column());
    let other = spec.validation.as_ref();
    let other = other.and_then(|validation| validation.dataset.as_deref());
    let context = Context {
        base: &header,
        base_version: 1,
        continued: None,
        data: view_of_job(columns, (data, split_by), &spec, &header),
        validation: view_of_job(columns, (other, None), &spec, &header),
        limits: JOB_LIMITS,
    };
    let job = check(spec, &context)?;
    Ok((job.spec, job.inline))
}

impl Example {
    fn make() -> Self {
        let columns = table();
        let (mut checkpoints, mut rows) = (Vec::new(), Vec::new());
        let models = [PLAIN, DECLARED].into_iter().zip(JOBS);
        let models = models.map(|(declaration, job)| {
            let declaration: ModelDeclaration = parse(declaration.as_bytes()).expect("a model");
            let view = view_of_declaration(&columns, &declaration);
            let model = declaration.check(Some(&view), &MODEL_LIMITS);
            let model = model.expect("a good model").build();
            let job = parse(job.as_bytes()).expect("a job");
            let (spec, inline) = checked(&columns, &model, job).expect("a good job");
            let data = if let Some(bytes) = inline {
                let data = RawSamples::decode_inline(&bytes).expect("its own bytes");
                rows = bytes;
                data
            } else {
                let (features, targets) = spec.data.columns().expect("columns");
                let names = [features, targets].concat();
                let read = named(&columns, &names);
                RawSamples::of_columns(read, features.len(), targets.len())
            };
            let mut witness = Witness::default();
            let source = Source::of(data);
            let ended = train(&spec, model, source, None, &Team::alone(), &mut witness);
            checkpoints.append(&mut witness.0);
            match ended {
                Ok(Outcome::Finished { model, .. }) => model,
                other => panic!("it does not learn: {other:?}"),
            }
        });
        let models: Vec<Model> = models.collect();
        Self {
            columns,
            models: models.try_into().expect("two models"),
            checkpoints,
            inline: rows,
        }
    }
}
