//! Train and serve alike: what a job validates, what an evaluation says and what predictions of the raw rows come to are the
//! same, on random tables.

use std::fmt::Write;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use crate::server::{TestServer, number};

/// Draws columns and rows.
struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, most: u32) -> usize {
        (self.0.next_u32() % most) as usize
    }

    fn share(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u32)]
    }
}

/// A feature column: what is declared of it, and the kind of values it has.
fn column(draw: &mut Draw, place: usize) -> Value {
    let name = format!("c{place}");
    match draw.below(4) {
        0 => {
            json!({"name": name, "encode": draw.one(&["one_hot", "ordinal", "embedding"]), "impute": "most_frequent", "indicator": true})
        }
        1 => json!({"name": name, "kind": "boolean", "impute": "most_frequent"}),
        2 => {
            json!({"name": name, "kind": "timestamp", "impute": "median", "scale": draw.one(&["standard", "minmax", "robust"])})
        }
        _ => {
            let scale = draw.one(&[
                "none",
                "standard",
                "minmax",
                "robust",
                "quantile_normal",
                "log",
            ]);
            json!({"name": name, "kind": "numeric", "impute": draw.one(&["mean", "median", "most_frequent"]), "scale": scale})
        }
    }
}

/// A value of a column as JSON and as CSV has it.
fn value(draw: &mut Draw, column: &Value) -> (Value, String) {
    if draw.share() < 0.1 {
        return (Value::Null, String::new());
    }
    let told = match column["kind"].as_str() {
        None => json!(draw.one(&["red", "green", "blue, dark", "\"grey\""])),
        Some("boolean") => json!(draw.below(2) == 1),
        Some("timestamp") => {
            let (month, day) = (1 + draw.below(12), 1 + draw.below(28));
            json!(format!(
                "20{:02}-{month:02}-{day:02}T{:02}:30:00Z",
                draw.below(30),
                draw.below(24)
            ))
        }
        _ => json!((draw.share() - 0.3) * 50.0),
    };
    let text = match &told {
        Value::String(word) => format!("\"{}\"", word.replace('"', "\"\"")),
        other => other.to_string(),
    };
    (told, text)
}

/// A table: rows by name, its CSV, and the targets.
struct Drawn {
    rows: Vec<Value>,
    csv: String,
    targets: Vec<Value>,
}

fn table(draw: &mut Draw, columns: &[Value], classes: bool, rows: usize) -> Drawn {
    let names = columns
        .iter()
        .map(|column| column["name"].as_str().expect("a name"));
    let names: Vec<&str> = names.collect();
    let mut drawn = Drawn {
        rows: Vec::new(),
        csv: format!("{},y\n", names.join(",")),
        targets: Vec::new(),
    };
    for _ in 0..rows {
        let mut row = Map::new();
        for (column, name) in columns.iter().zip(&names) {
            let (told, text) = value(draw, column);
            row.insert((*name).to_owned(), told);
            write!(drawn.csv, "{text},").expect("a text");
        }
        let target = if classes {
            json!(draw.one(&["no", "perhaps", "yes"]))
        } else {
            json!(10.0 + draw.share())
        };
        let text = target
            .as_str()
            .map_or_else(|| target.to_string(), str::to_owned);
        writeln!(drawn.csv, "{text}").expect("a text");
        drawn.rows.push(Value::Object(row));
        drawn.targets.push(target);
    }
    drawn
}

/// What predictions of the raw rows come to: of classes the mean of −ln p and the share that is right, of numbers the mean
/// squared error.
fn recomputed(predictions: &[Value], targets: &[Value], classes: bool) -> (f64, f64) {
    let rows = predictions.iter().zip(targets);
    let each = rows.map(|(prediction, target)| {
        if classes {
            let p = number(&prediction["probabilities"][target.as_str().expect("a class")]);
            (-p.ln(), f64::from(u8::from(prediction["class"] == *target)))
        } else {
            ((number(prediction) - number(target)).powi(2), 0.0)
        }
    });
    let sums = each.fold((0.0, 0.0), |sums, row| (sums.0 + row.0, sums.1 + row.1));
    let count = predictions.len() as f64;
    (sums.0 / count, sums.1 / count)
}

#[tokio::test]
async fn validation_evaluation_and_predictions_of_raw_rows_agree_on_random_tables() {
    let server = TestServer::start().await;
    for seed in 0..12u64 {
        let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
        let (classes, double) = (seed % 2 == 0, seed % 4 < 2);
        let count = 2 + draw.below(4);
        let columns: Vec<Value> = (0..count).map(|place| column(&mut draw, place)).collect();
        let (train, other) = (
            table(&mut draw, &columns, classes, 90),
            table(&mut draw, &columns, classes, 70),
        );
        let (name, held_out) = (format!("t{seed}"), format!("v{seed}"));
        server.upload(&name, train.csv.clone()).await.expect(201);
        server
            .upload(&held_out, other.csv.clone())
            .await
            .expect(201);
        server.create(json!({"name": name, "dataset": name, "target": "y", "columns": columns, "seed": seed,
            "dtype": if double { "float64" } else { "float32" }, "hidden": [{"units": 6, "activation": "tanh"}]})).await;
        let metrics = if classes {
            json!(["loss", "accuracy"])
        } else {
            json!(["loss", "mean_squared_error"])
        };
        let job = json!({"model": name, "epochs": 4, "seed": seed, "batch_size": 16, "metrics": metrics,
            "optimizer": {"type": "adam", "learning_rate": 0.02}, "validation": {"dataset": held_out}});
        let validated = server.train(job).await["metrics"]["validation"].take();

        let path = format!("/v1/models/{name}/versions/latest/evaluate");
        let evaluated = server
            .post(&path, json!({"dataset": held_out}))
            .await
            .expect(200);
        for (metric, figure) in validated.as_object().expect("figures") {
            assert_eq!(figure, &evaluated["metrics"][metric], "{seed} {metric}");
        }
        let path = format!("/v1/models/{name}/predict");
        let asked = server
            .post(&path, json!({"instances": other.rows}))
            .await
            .expect(200);
        let predictions = asked["predictions"].as_array().expect("a list");
        let (mean, right) = recomputed(predictions, &other.targets, classes);
        let bound = if double { 1e-12 } else { 1e-6 };
        let figure = if classes {
            "loss"
        } else {
            "mean_squared_error"
        };
        let expected = number(&validated[figure]);
        let error = (mean - expected).abs() / expected.max(1.0);
        assert!(error < bound, "{seed}: {mean} {expected}");
        if classes {
            assert_eq!(right, number(&validated["accuracy"]), "{seed}");
        }
    }
}
