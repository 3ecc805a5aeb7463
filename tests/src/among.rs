//! Scripted providers behind one model, among which a strategy chooses: for tests and for benches.

use sluice::mock::{Mock, Script};

/// A scripted provider on a free port.
///
/// # Errors
/// If it is no script, or the system gives no port.
pub fn provider(script: &str) -> Result<Mock, String> {
    Mock::start(([127, 0, 0, 1], 0).into(), Script::parse(script)?).map_err(|error| error.to_string())
}

/// The configuration of a gateway whose model `chat` has the model `m` of each as its targets, by this strategy.
pub fn routed(providers: &[&Mock], strategy: &str) -> String {
    let mut yaml = "providers:\n".to_owned();
    for (at, mock) in providers.iter().enumerate() {
        yaml.push_str(&format!("  p{at}: {{kind: mock, base_url: '{}'}}\n", mock.base_url()));
    }
    let member =
        |at: usize| if strategy == "weighted" { format!("{{target: p{at}/m}}") } else { format!("p{at}/m") };
    let members: Vec<String> = (0..providers.len()).map(member).collect();
    yaml + &format!("routes: [{{model: chat, targets: [{{{strategy}: [{}]}}]}}]\n", members.join(", "))
}
