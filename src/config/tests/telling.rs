//! `[hooks]`, `[[webhook]]` and `[metrics]`: what is read, what is refused, and that secrets stay secret.

use super::super::*;
use super::{FOLDER, parse, problems};

const WEBHOOK: &str = "[[webhook]]\nurl = \"https://ntfy.example/topic\"\n";

fn webhook(lines: &str) -> Webhook {
    parse(&format!("{WEBHOOK}{lines}"))
        .expect(lines)
        .webhooks
        .remove(0)
}

#[test]
fn the_commented_webhook_of_the_example_is_right_and_holds_every_key() {
    let begin = EXAMPLE.find("# [[webhook]]").expect("the block");
    let end = EXAMPLE.find("[metrics]").expect("what follows");
    let lines = EXAMPLE[begin..end]
        .lines()
        .map(|line| line.trim_start_matches("# "));
    let is_key = |line: &&str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let text: Vec<&str> = lines.filter(is_key).collect();
    let table: toml::Table = text.join("\n").parse().expect("TOML");
    let mut written: Vec<_> = table["webhook"][0]
        .as_table()
        .expect("table")
        .keys()
        .cloned()
        .collect();
    let mut known = news::WEBHOOK_KEYS.to_vec();
    known.sort_unstable();
    written.sort_unstable();
    assert_eq!(known, written);

    let defaults = ["format", "events", "timeout"];
    let shown = text
        .iter()
        .filter(|line| defaults.iter().any(|key| line.starts_with(key)));
    let shown: Vec<&str> = shown.copied().collect();
    assert_eq!(webhook(&shown.join("\n")), webhook(""), "they are the defaults");
}

#[test]
fn a_command_is_a_list_and_its_path_is_relative_to_the_file() {
    let hooks = |lines: &str| parse(&format!("[hooks]\n{lines}")).expect(lines).hooks;
    let command = hooks("on_done = [\"./tell\", \"a b\"]")
        .on_done
        .expect("a command");
    assert_eq!(command.program, Path::new("/etc/upscaled/tell"));
    assert_eq!(command.arguments, ["a b"]);
    let command = hooks("on_idle = [\"notify-send\"]").on_idle.expect("a command");
    assert_eq!(command.program, Path::new("notify-send"), "looked for in PATH");
    assert_eq!(hooks("on_failed = []").on_failed, None);
    assert_eq!(
        problems("[hooks]\non_done = \"tell me\"\n"),
        [
            "[hooks] on_done: must be a list of words such as [\"/usr/local/bin/tell\", \"--quick\"], not \"tell me\"; no \
             shell splits a line"
        ]
    );
    assert!(problems("[hooks]\non_done = [\"a\\u0000\"]")[0].contains("NUL"));
    assert!(problems("[hooks]\ntimeout = \"2h\"")[0].starts_with("[hooks] timeout: must be"));
}

#[test]
fn an_address_that_cannot_be_meant_is_refused() {
    let refused = |url: &str| problems(&format!("[[webhook]]\nurl = {url:?}\n")).join("|");
    for (url, why) in [
        ("ntfy.sh/topic", "with http:// or https://"),
        ("ftp://a/b", "with http:// or https://"),
        ("https://", "must be an address"),
        ("https://:80/x", "must be an address"),
        ("https://a:x/y", "must be an address"),
        ("https://a:0/y", "must be an address"),
        ("https://[::1/y", "must be an address"),
        ("https://a/b c", "holds a space"),
        ("https://u:hunter2@a/b", "holds a user or password"),
    ] {
        let told = refused(url);
        assert!(
            told.starts_with("[[webhook]] 1 url: ") && told.contains(why),
            "{url}: {told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }
    for url in ["http://127.0.0.1:8080", "https://[::1]:80/x?y=z", "HTTPS://a"] {
        assert_eq!(
            parse(&format!("[[webhook]]\nurl = {url:?}\n"))
                .expect(url)
                .webhooks[0]
                .url,
            url
        );
    }
    assert!(problems("[[webhook]]\nurl = \"https://ntfy.sh\"\nformat = \"ntfy\"")[0].contains("no topic"));
    assert!(problems("[[webhook]]\nformat = \"json\"")[0].contains("url: is missing"));
    assert_eq!(problems("[webhook]\nurl = \"https://a\"").len(), 1);
    assert_eq!(problems(&WEBHOOK.repeat(17)).len(), 1);
}

#[test]
fn a_secret_is_sent_and_never_shown() {
    let text = "token = \"hunter2\"\nheaders = { X-Key = \"hunter3\" }\n";
    let read = webhook(text);
    assert_eq!(read.token.as_ref().map(Secret::reveal), Some("hunter2"));
    assert_eq!(read.headers[0].1.reveal(), "hunter3");
    let config = parse(&format!("{FOLDER}{WEBHOOK}{text}")).expect("config");
    for shown in [
        config.to_toml(),
        config.to_json().to_string(),
        format!("{config:?}"),
    ] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
    assert!(config.to_toml().contains("# token = \"(hidden)\""));
    for wrong in [
        "token = \"hunter\\n2\"",
        "token = 17\n",
        "headers = { X-Key = \"hunter\\r2\" }",
        "headers = { \"X Key\" = \"hunter\" }",
        "headers = { Host = \"hunter\" }",
        "token = \"hunter\"\ntoken_file = \"t\"",
        "token = \"hunter\"\nheaders = { authorization = \"hunter\" }",
    ] {
        let told = problems(&format!("{WEBHOOK}{wrong}"));
        assert!(told.len() == 1 && !told[0].contains("hunter"), "{told:?}");
    }
}

#[test]
fn what_is_shown_of_webhooks_and_commands_means_what_was_read() {
    let text = format!(
        "{WEBHOOK}events = [\"failed\"]\nformat = \"ntfy\"\ntimeout = \"3s\"\ntoken_file = \"token\"\n\
         [hooks]\non_idle = [\"/bin/true\", \"x\"]\ntimeout = \"90s\"\n[metrics]\nlisten = \"[::1]:9753\"\n"
    );
    let config = parse(&text).expect("config");
    assert_eq!(config.webhooks[0].host(), "ntfy.example");
    assert_eq!(parse(&config.to_toml()).expect("shown"), config);
}

#[test]
fn metrics_are_answered_at_an_address_or_nowhere() {
    let listen = |text: &str| parse(&format!("[metrics]\nlisten = {text:?}\n"));
    assert_eq!(listen("off").expect("off").metrics.listen, None);
    assert!(
        listen("127.0.0.1:9753")
            .expect("address")
            .metrics
            .listen
            .is_some()
    );
    for wrong in [
        "localhost:9753",
        "9753",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "",
    ] {
        let told = listen(wrong).expect_err(wrong).problems().join("|");
        assert!(
            told.starts_with("[metrics] listen: must be \"off\" or an address"),
            "{told}"
        );
    }
}
