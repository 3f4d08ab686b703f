//! The demo: handwritten digits learned through the HTTP API, told as it happens.

mod chart;
mod commands;
mod digits;
mod gradients;
mod predictions;
mod progress;
mod screen;

use std::{
    net::SocketAddr,
    pin::pin,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{select, time::sleep};

use self::{
    commands::Recipe,
    digits::{Digit, Part},
    progress::{Trained, grouped},
    screen::Screen,
};
use super::{Error, client::Client};

/// Names on the server.
const MODEL: &str = "digits";
const TRAIN: &str = "digits-train";
const HELD_OUT: &str = "digits-test";

/// How the demo's network learns.
const RECIPE: Recipe = Recipe {
    preprocess: "minmax",
    epochs: 100,
    batch_size: 10,
    learning_rate: 3.0,
};

/// How long a server that starts beside the demo may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Runs the demo against a running server, with its token where it asks for one, and returns when its story is told, or when `interrupted` is.
///
/// A server that is still starting is waited for, 10 s at most. What an earlier demo left (datasets, model) is used again; the
/// network is then trained anew, from its initial parameters.
///
/// Errors: the server does not answer or refuses a request, the job fails, a dataset of the demo's names holds something else,
/// standard output is closed.
pub async fn demo(
    server: SocketAddr,
    token: Option<String>,
    interrupted: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut story = pin!(tell(server, token));
    let mut interrupted = pin!(interrupted);
    select! {
        told = &mut story => told,
        () = &mut interrupted => Ok(()),
    }
}

async fn tell(server: SocketAddr, token: Option<String>) -> Result<(), Error> {
    let screen = Screen::open();
    let mut client = Client::new(server);
    if let Some(token) = &token {
        client = client.with_token(token);
    }
    wait_until_ready(&mut client).await?;
    let (train, held_out) = digits::parts();
    screen.title("Handwritten digits: 8×8 pixels in, 10 classes out")?;
    upload(&mut client, &screen, TRAIN, &train).await?;
    upload(&mut client, &screen, HELD_OUT, &held_out).await?;
    let known = create_model(&mut client, &screen).await?;
    let job = create_job(&mut client, known).await?;
    screen.title(&format!("Training by gradient descent, job {job}"))?;
    let trained = progress::follow(&mut client, &screen, &job).await?;
    show_training(&screen, &trained, train.digits.len())?;
    show_gradients(&mut client, &screen, &job, &held_out.digits[..5]).await?;
    show_predictions(&mut client, &screen, &held_out.digits).await?;
    screen.title("The same by hand, in the project's folder")?;
    if token.is_some() {
        screen.say(commands::WITH_TOKEN)?;
    }
    screen.say(&commands::curl_commands(client.server(), &RECIPE))?;
    screen.say(&format!(
        "\nstill serving on http://{}; Ctrl-C stops it",
        client.server()
    ))
}

async fn wait_until_ready(client: &mut Client) -> Result<(), Error> {
    let since = Instant::now();
    loop {
        match client.get("/readyz").await {
            Ok(_) => return Ok(()),
            Err(error) if since.elapsed() > START_LIMIT => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn upload(
    client: &mut Client,
    screen: &Screen,
    name: &str,
    part: &Part,
) -> Result<(), Error> {
    let kept = client.find(&format!("/v1/datasets/{name}")).await?;
    let (dataset, done) = if let Some(dataset) = kept {
        (dataset, "is there already")
    } else {
        let path = format!("/v1/datasets?name={name}");
        (client.post_csv(&path, part.body()).await?, "uploaded")
    };
    let (found, expected) = (dataset["rows"].as_u64().unwrap_or(0), part.digits.len());
    if found != expected as u64 {
        return Err(Error::OtherDataset {
            name: name.into(),
            found,
            expected,
        });
    }
    screen.say(&format!(
        "  dataset {name:<13} {:>5} rows, {done}",
        grouped(found)
    ))
}

/// Whether the model was there already.
async fn create_model(client: &mut Client, screen: &Screen) -> Result<bool, Error> {
    let path = format!("/v1/models/{MODEL}");
    let known = client.find(&path).await?;
    let (was_known, done) = (
        known.is_some(),
        if known.is_some() {
            "is there already"
        } else {
            "created"
        },
    );
    let model = match known {
        Some(model) => model,
        None => client.post("/v1/models", &model_spec()).await?,
    };
    let parameters = model["parameter_count"].as_u64().unwrap_or(0);
    screen.say(&format!(
        "  model   {MODEL:<13} 64-30-10 sigmoid, {} parameters, {done}",
        grouped(parameters)
    ))?;
    Ok(was_known)
}

fn model_spec() -> Value {
    json!({
        "name": MODEL,
        "inputs": 64,
        "layers": [{"units": 30, "activation": "sigmoid"}, {"units": 10, "activation": "sigmoid"}],
        "loss": "quadratic",
        "initializer": "lecun_normal",
        "preprocess": RECIPE.preprocess,
        "dtype": "float32",
        "seed": 1,
        "description": "Handwritten digits, from gradientd demo",
    })
}

/// The id of the new job. A model that was there already is trained from its initial parameters.
async fn create_job(client: &mut Client, was_known: bool) -> Result<String, Error> {
    let mut spec = json!({
        "model": MODEL,
        "data": {"dataset": TRAIN, "target": "digit", "target_kind": "categorical"},
        "validation": {"dataset": HELD_OUT},
        "optimizer": {"type": "gradient_descent", "learning_rate": RECIPE.learning_rate},
        "epochs": RECIPE.epochs,
        "batch_size": RECIPE.batch_size,
        "seed": 1,
    });
    if was_known {
        spec["from"] = json!({"initial": true});
    }
    let job = client.post("/v1/jobs", &spec).await?;
    let id = job["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| unexpected("POST /v1/jobs", "id must be a word"))
}

fn show_training(screen: &Screen, trained: &Trained, rows: usize) -> Result<(), Error> {
    let epochs = trained.history.len();
    let seconds = trained.took.as_secs_f64();
    screen.say(&format!(
        "  {epochs} epochs of {} samples in {seconds:.1} s",
        grouped(rows as u64)
    ))?;
    screen.title("Loss")?;
    screen.say(chart::loss_chart(&trained.history).trim_end())
}

async fn show_gradients(
    client: &mut Client,
    screen: &Screen,
    job: &str,
    rows: &[Digit],
) -> Result<(), Error> {
    screen.title("Gradients, first and last epoch")?;
    let path = format!("/v1/jobs/{job}/gradients");
    let table = gradients::gradient_table(&fetch_gradients(client, &path).await?)
        .ok_or_else(|| unexpected(&path, "data must be rows with epoch, layer and their norms"))?;
    screen.say(table.trim_end())?;
    let path = format!("/v1/models/{MODEL}/gradient-check");
    let answer = client.post(&path, &check_request(rows)).await?;
    let line = gradients::check_line(&answer).ok_or_else(|| {
        unexpected(
            &path,
            "passed, checked, max_relative_error and tolerance must be there",
        )
    })?;
    screen.say(&format!("\n  against central differences\n  {line}"))
}

/// Every recorded epoch, page by page.
async fn fetch_gradients(client: &mut Client, path: &str) -> Result<Vec<Value>, Error> {
    let mut entries = Vec::new();
    loop {
        let after = entries
            .last()
            .map_or(0, |entry: &Value| entry["epoch"].as_u64().unwrap_or(0));
        let mut answer = client.get(&format!("{path}?after={after}")).await?;
        let Value::Array(page) = answer["data"].take() else {
            return Err(unexpected(path, "data must be a list"));
        };
        let more = answer["has_more"] == true && !page.is_empty();
        entries.extend(page);
        if !more {
            return Ok(entries);
        }
    }
}

fn check_request(rows: &[Digit]) -> Value {
    let one_hot = |digit: &Digit| -> Value {
        (0..10)
            .map(|class| u8::from(class == digit.class))
            .collect()
    };
    let targets: Value = rows.iter().map(one_hot).collect();
    json!({"inputs": predictions::inputs(rows), "targets": targets, "sample": 200, "seed": 1})
}

async fn show_predictions(
    client: &mut Client,
    screen: &Screen,
    digits: &[Digit],
) -> Result<(), Error> {
    screen.title("Digits that it has never seen")?;
    let predicted = predictions::predict(client, MODEL, digits).await?;
    screen.say(predictions::gallery(digits, &predicted).trim_end_matches('\n'))?;
    let correct = predictions::correct(digits, &predicted);
    screen.say(&format!(
        "\n  {correct} of {} held-out digits are right",
        digits.len()
    ))?;
    screen.say(&predictions::accuracy_line(correct, digits.len()))
}

fn unexpected(request: &str, fault: &str) -> Error {
    Error::Unexpected {
        request: request.into(),
        fault: fault.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Client, Error, check_request, demo, digits, fetch_gradients, model_spec};
    use crate::cli::client::canned::Canned;

    #[test]
    fn the_network_is_64_30_10() {
        let model = model_spec();
        assert_eq!(model["inputs"], 64);
        assert_eq!(model["layers"][0]["units"], 30);
        assert_eq!(model["layers"][1]["units"], 10);
    }

    #[test]
    fn targets_of_the_gradient_check_are_one_hot() {
        let (train, _) = digits::parts();
        let request = check_request(&train.digits[3..4]);
        assert_eq!(request["targets"], json!([[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]]));
        assert_eq!(request["inputs"][0].as_array().map(Vec::len), Some(64));
    }

    #[tokio::test]
    async fn gradients_are_read_to_the_last_page() {
        let pages = [
            r#"{"data":[{"epoch":1},{"epoch":2}],"has_more":true}"#,
            r#"{"data":[{"epoch":3}],"has_more":false}"#,
        ];
        let server = Canned::start(&pages.map(|page| (200, "application/json", page)));
        let mut client = Client::new(server.address);
        let entries = fetch_gradients(&mut client, "/g").await.expect("two pages");
        assert_eq!(
            entries,
            [
                json!({"epoch": 1}),
                json!({"epoch": 2}),
                json!({"epoch": 3})
            ]
        );
        assert!(server.requests()[1].starts_with("GET /g?after=2 "));
    }

    #[test]
    fn the_demo_can_be_spawned() {
        fn spawnable(_: impl Future + Send) {}
        let address = "127.0.0.1:1".parse().expect("an address");
        spawnable(demo(address, None, std::future::pending()));
    }

    #[tokio::test]
    async fn an_interruption_ends_the_demo_without_an_error() {
        let server = Canned::start(&[]);
        demo(server.address, None, std::future::ready(()))
            .await
            .expect("interrupted, not failed");
    }

    #[tokio::test]
    async fn a_dataset_with_other_rows_is_not_taken_for_the_demos() {
        let json = "application/json";
        let server = Canned::start(&[
            (200, json, r#"{"status":"ok"}"#),
            (200, json, r#"{"rows":3}"#),
        ]);
        let error = demo(server.address, None, std::future::pending())
            .await
            .expect_err("3 rows are not 1438");
        assert!(matches!(&error, Error::OtherDataset { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "dataset digits-train is there already, but with 3 rows where the demo's has 1438; \
             delete it or choose another data directory"
        );
    }
}
