//! What the network says of the digits that it has never seen.

use serde_json::{Value, json};

use super::{
    super::{Error, client::Client},
    digits::{Digit, draw},
};

/// Rows in one request.
const PIECE: usize = 200;

/// Digits in a drawing: as many as 80 columns hold.
const DRAWN: usize = 4;

/// What was predicted for one digit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prediction {
    class: u8,
    /// Of that class: a probability where the outputs are probabilities, else an activation.
    output: f64,
}

impl Prediction {
    /// The class of the largest output; outputs stand in the order of the classes 0..9.
    fn read(outputs: &Value, named: &Value) -> Option<Self> {
        let outputs: Vec<f64> = outputs
            .as_array()?
            .iter()
            .map(Value::as_f64)
            .collect::<Option<_>>()?;
        let largest = (0..outputs.len()).max_by(|&a, &b| outputs[a].total_cmp(&outputs[b]))?;
        let class = match &named["class"] {
            Value::String(word) => word.parse().ok()?,
            Value::Number(number) => number.as_u64()? as u8,
            _ => u8::try_from(largest).ok()?,
        };
        let output = named["probability"].as_f64().unwrap_or(outputs[largest]);
        Some(Self { class, output })
    }
}

/// Predicts every digit with the latest version of a model, some hundred a request.
pub(super) async fn predict(
    client: &mut Client,
    model: &str,
    digits: &[Digit],
) -> Result<Vec<Prediction>, Error> {
    let path = format!("/v1/models/{model}/predict");
    let mut predictions = Vec::new();
    for piece in digits.chunks(PIECE) {
        let answer = client
            .post(&path, &json!({"inputs": inputs(piece)}))
            .await?;
        let read = read_piece(&answer).filter(|read| read.len() == piece.len());
        predictions.extend(read.ok_or_else(|| Error::Unexpected {
            request: format!("POST {path}"),
            fault: format!("outputs must be {} rows of numbers", piece.len()),
        })?);
    }
    Ok(predictions)
}

/// Rows of pixels as a request wants them.
pub(super) fn inputs(digits: &[Digit]) -> Value {
    digits
        .iter()
        .map(|digit| Value::from(digit.pixels.clone()))
        .collect()
}

fn read_piece(answer: &Value) -> Option<Vec<Prediction>> {
    let outputs = answer["outputs"].as_array()?;
    outputs
        .iter()
        .enumerate()
        .map(|(row, outputs)| Prediction::read(outputs, &answer["predictions"][row]))
        .collect()
}

/// How many predictions are right.
pub(super) fn correct(digits: &[Digit], predictions: &[Prediction]) -> usize {
    digits
        .iter()
        .zip(predictions)
        .filter(|(digit, prediction)| digit.class == prediction.class)
        .count()
}

/// `held-out accuracy: 95.3 %`.
pub(super) fn accuracy_line(correct: usize, rows: usize) -> String {
    format!(
        "held-out accuracy: {:.1} %",
        100.0 * correct as f64 / rows as f64
    )
}

/// A few digits spread over the rows, the last of them the first mistake if there is one.
pub(super) fn gallery(digits: &[Digit], predictions: &[Prediction]) -> String {
    let mut shown: Vec<usize> = (0..DRAWN).map(|n| n * digits.len() / DRAWN).collect();
    if let Some(mistake) = digits
        .iter()
        .zip(predictions)
        .position(|(d, p)| d.class != p.class)
    {
        shown.pop();
        shown.push(mistake);
    }
    let drawn: Vec<_> = shown
        .iter()
        .map(|&row| (&digits[row], caption(&digits[row], &predictions[row])))
        .collect();
    draw(&drawn)
}

fn caption(digit: &Digit, prediction: &Prediction) -> [String; 2] {
    let verdict = if digit.class == prediction.class {
        "right"
    } else {
        "WRONG"
    };
    [
        format!("predicted {} ({:.2})", prediction.class, prediction.output),
        format!("is {}: {verdict}", digit.class),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Digit, Prediction, accuracy_line, correct, gallery, inputs, read_piece};

    fn digits(classes: &[u8]) -> Vec<Digit> {
        classes
            .iter()
            .map(|&class| Digit {
                pixels: vec![class; 64],
                class,
            })
            .collect()
    }

    fn predictions(classes: &[u8]) -> Vec<Prediction> {
        classes
            .iter()
            .map(|&class| Prediction {
                class,
                output: 0.975,
            })
            .collect()
    }

    #[test]
    fn the_class_is_the_named_one_or_the_largest_output() {
        let outputs = json!([[0.1, 0.9, 0.2], [0.8, 0.1, 0.1], [0.3, 0.2, 0.5]]);
        let named = json!([{"class": "1"}, {"class": "0", "probability": 0.75}, null]);
        let read = read_piece(&json!({"outputs": outputs, "predictions": named}));
        let expected = [(1, 0.9), (0, 0.75), (2, 0.5)];
        assert_eq!(
            read,
            Some(
                expected
                    .map(|(class, output)| Prediction { class, output })
                    .to_vec()
            )
        );
    }

    #[test]
    fn outputs_that_are_no_numbers_are_no_predictions() {
        assert_eq!(read_piece(&json!({"outputs": [[0.1, "x"]]})), None);
        assert_eq!(read_piece(&json!({})), None);
    }

    #[test]
    fn rows_go_out_as_lists_of_numbers() {
        assert_eq!(inputs(&digits(&[3]))[0][63], json!(3));
    }

    #[test]
    fn accuracy_counts_what_is_right() {
        let right = correct(&digits(&[1, 2, 3]), &predictions(&[1, 2, 4]));
        assert_eq!(right, 2);
        assert_eq!(accuracy_line(right, 3), "held-out accuracy: 66.7 %");
        assert_eq!(accuracy_line(360, 360), "held-out accuracy: 100.0 %");
    }

    #[test]
    fn the_gallery_shows_a_mistake_if_there_is_one() {
        let (truth, said) = ([5; 8], [5, 5, 5, 5, 5, 5, 5, 6]);
        let drawn = gallery(&digits(&truth), &predictions(&said));
        assert_eq!(drawn.matches("WRONG").count(), 1, "{drawn}");
        assert_eq!(drawn.matches("predicted").count(), 4, "{drawn}");
        assert!(
            drawn.contains("predicted 6 (0.97)") || drawn.contains("predicted 6 (0.98)"),
            "{drawn}"
        );
        let drawn = gallery(&digits(&truth), &predictions(&truth));
        assert_eq!(drawn.matches("right").count(), 4, "{drawn}");
        assert!(
            drawn.lines().all(|line| line.chars().count() <= 80),
            "{drawn}"
        );
    }
}
