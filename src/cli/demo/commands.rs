//! The demo told as curl commands.

use std::net::SocketAddr;

/// The commands, to be pasted in the project's folder; `{server}` is filled in.
const COMMANDS: &str = r#"  S=http://{server}; T='content-type: application/json'
  # upload a table (1,797 digits), create a model, train it
  curl -H 'content-type: text/csv' --data-binary @src/cli/digits.csv \
    "$S/v1/datasets?name=my-digits"
  curl -H "$T" $S/v1/models -d '{"name":"mine","inputs":64,
    "preprocess":"{preprocess}","layers":[{"units":30,"activation":"sigmoid"},
    {"units":10,"activation":"sigmoid"}],"loss":"quadratic"}'
  curl -H "$T" $S/v1/jobs -d '{"model":"mine","epochs":{epochs},
    "batch_size":{batch_size},"optimizer":{"type":"gradient_descent","learning_rate":{learning_rate}},
    "data":{"dataset":"my-digits","target":"digit",
    "target_kind":"categorical"},
    "validation":{"fraction":0.2}}' | tee job.json
  # watch it: the job, the loss of each epoch, the gradients of each layer
  J=$(grep -oE '[0-9a-f]{8}(-[0-9a-f]{4,12}){4}' job.json | head -1)
  curl $S/v1/jobs/$J
  curl "$S/v1/jobs/$J/loss?every=10"
  curl "$S/v1/jobs/$J/gradients?layer=1"
  # predict the last digit of the table, an 8
  X=$(tail -1 src/cli/digits.csv | cut -d, -f1-64)
  curl -H "$T" $S/v1/models/mine/predict -d "{\"inputs\":[[$X]]}""#;

/// What comes before them where the server asks for a token, which is not printed.
pub(super) const WITH_TOKEN: &str = r#"  # first: read -rs GRADIENTD_TOKEN <the-token-file
  curl() { command curl -H "Authorization: Bearer $GRADIENTD_TOKEN" "$@"; }"#;

/// What the network of the demo and that of its commands are trained with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    pub(super) preprocess: &'static str,
    pub(super) epochs: u32,
    pub(super) batch_size: u32,
    pub(super) learning_rate: f64,
}

/// curl commands that upload, create, train, watch, look into the gradients and predict.
pub(super) fn curl_commands(server: SocketAddr, recipe: &Recipe) -> String {
    COMMANDS
        .replace("{server}", &server.to_string())
        .replace("{preprocess}", recipe.preprocess)
        .replace("{epochs}", &recipe.epochs.to_string())
        .replace("{batch_size}", &recipe.batch_size.to_string())
        .replace("{learning_rate}", &recipe.learning_rate.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Recipe, curl_commands};

    fn commands() -> String {
        let recipe = Recipe {
            preprocess: "minmax",
            epochs: 100,
            batch_size: 10,
            learning_rate: 0.5,
        };
        curl_commands("127.0.0.1:8080".parse().expect("an address"), &recipe)
    }

    #[test]
    fn the_commands_carry_the_address_and_fit_80_columns() {
        let commands = commands();
        assert!(
            commands.starts_with("  S=http://127.0.0.1:8080;"),
            "{commands}"
        );
        for line in commands.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn every_quoted_body_is_json_with_nothing_left_to_fill_in() {
        let commands = commands();
        let bodies: Vec<&str> = commands
            .split("-d '")
            .skip(1)
            .filter_map(|rest| rest.split('\'').next())
            .collect();
        assert_eq!(bodies.len(), 2);
        for body in bodies {
            let body: Value = serde_json::from_str(body).expect("it is pasted as it stands");
            let network_or_job = body["layers"][1]["units"] == 10 || body["batch_size"] == 10;
            assert!(network_or_job, "{body}");
        }
    }
}
