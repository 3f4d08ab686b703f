//! The gradients of the demo's job, as tables.

use std::fmt::Write as _;

use serde_json::Value;

/// What one layer's gradient was in one recorded epoch.
#[derive(Debug, Clone, PartialEq)]
struct LayerRow {
    epoch: u64,
    layer: u64,
    weight_norm: f64,
    bias_norm: f64,
    update_to_weight_ratio: f64,
    saturated: f64,
}

impl LayerRow {
    fn read(epoch: u64, layer: &Value) -> Option<Self> {
        Some(Self {
            epoch,
            layer: layer["layer"].as_u64()?,
            weight_norm: layer["weight_gradient"]["norm"].as_f64()?,
            bias_norm: layer["bias_gradient"]["norm"].as_f64()?,
            update_to_weight_ratio: layer["update_to_weight_ratio"].as_f64()?,
            saturated: layer["saturated"].as_f64()?,
        })
    }
}

/// The layers of the first and the last recorded epoch of `GET /v1/jobs/{id}/gradients`, a line each.
///
/// `None` where an epoch or a layer lacks what the API promises.
pub(super) fn gradient_table(entries: &[Value]) -> Option<String> {
    let rows = rows(entries)?;
    let (first, last) = (rows.first()?.epoch, rows.last()?.epoch);
    let mut text = String::from("  epoch  layer   ‖∂C/∂w‖   ‖∂C/∂b‖   update/weight   saturated\n");
    for row in rows
        .iter()
        .filter(|row| row.epoch == first || row.epoch == last)
    {
        writeln!(
            text,
            "  {:>5}  {:>5}  {:>8.6}  {:>8.6}  {:>14.6}  {:>8.1} %",
            row.epoch,
            row.layer,
            row.weight_norm,
            row.bias_norm,
            row.update_to_weight_ratio,
            100.0 * row.saturated
        )
        .expect("a String takes everything");
    }
    Some(text)
}

/// One entry per recorded epoch, with its layers; or one per epoch and layer.
fn rows(entries: &[Value]) -> Option<Vec<LayerRow>> {
    let mut rows = Vec::new();
    for entry in entries {
        let epoch = entry["epoch"].as_u64()?;
        match entry["layers"].as_array() {
            Some(layers) => {
                for layer in layers {
                    rows.push(LayerRow::read(epoch, layer)?);
                }
            }
            None => rows.push(LayerRow::read(epoch, entry)?),
        }
    }
    Some(rows)
}

/// `passed: 200 derivatives, largest relative error 3.1e-10 (tolerance 1e-6)`.
pub(super) fn check_line(answer: &Value) -> Option<String> {
    let verdict = if answer["passed"].as_bool()? {
        "passed"
    } else {
        "FAILED"
    };
    Some(format!(
        "{verdict}: {} derivatives, largest relative error {:.1e} (tolerance {:.0e})",
        answer["checked"].as_u64()?,
        answer["max_relative_error"].as_f64()?,
        answer["tolerance"].as_f64()?
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check_line, gradient_table};

    fn layer(layer: u64, norm: f64) -> Value {
        json!({"layer": layer, "weight_gradient": {"norm": norm}, "bias_gradient": {"norm": norm / 2.0},
            "update_to_weight_ratio": 0.001, "saturated": 0.25})
    }

    #[test]
    fn the_table_shows_every_layer_of_the_first_and_the_last_epoch() {
        let entries = [
            json!({"epoch": 1, "layers": [layer(1, 0.5), layer(2, 0.25)]}),
            json!({"epoch": 2, "layers": [layer(1, 9.0), layer(2, 9.0)]}),
            json!({"epoch": 3, "layers": [layer(1, 0.125), layer(2, 0.0625)]}),
        ];
        assert_eq!(
            gradient_table(&entries).as_deref(),
            Some(
                "  epoch  layer   ‖∂C/∂w‖   ‖∂C/∂b‖   update/weight   saturated
      1      1  0.500000  0.250000        0.001000      25.0 %
      1      2  0.250000  0.125000        0.001000      25.0 %
      3      1  0.125000  0.062500        0.001000      25.0 %
      3      2  0.062500  0.031250        0.001000      25.0 %
"
            )
        );
    }

    #[test]
    fn an_entry_per_layer_is_the_same_table() {
        let mut flat = layer(1, 0.5);
        flat["epoch"] = json!(1);
        let nested = json!({"epoch": 1, "layers": [layer(1, 0.5)]});
        assert_eq!(gradient_table(&[flat]), gradient_table(&[nested]));
    }

    #[test]
    fn an_answer_without_norms_is_no_table() {
        assert_eq!(
            gradient_table(&[json!({"epoch": 1, "layers": [{"layer": 1}]})]),
            None
        );
        assert_eq!(gradient_table(&[]), None);
    }

    #[test]
    fn a_check_says_how_far_off_it_was() {
        let mut answer = json!({"passed": true, "tolerance": 1e-6, "checked": 200,
            "max_relative_error": 3.14e-10});
        let line = "passed: 200 derivatives, largest relative error 3.1e-10 (tolerance 1e-6)";
        assert_eq!(check_line(&answer).as_deref(), Some(line));
        answer["passed"] = json!(false);
        assert!(check_line(&answer).is_some_and(|line| line.starts_with("FAILED")));
        assert_eq!(check_line(&json!({})), None);
    }
}
