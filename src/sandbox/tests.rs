use super::*;
use crate::config::OnSuccess;

fn config(root: &Path) -> Config {
    let text = "state_dir = \"state\"\n[[folder]]\nname = \"a\"\ninput = \"in\"\noutput = \"out\"\n";
    for dir in ["in", "out", "state"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    Config::parse(text, &root.join("c.toml")).unwrap()
}

fn covered(config: &Config, config_path: &Path, grants: &[Grant]) -> bool {
    needs::of(config, config_path, None)
        .iter()
        .all(|need| need.is_covered(grants))
}

#[test]
fn a_configuration_is_covered_by_its_own_grants_and_a_foreign_folder_is_not() {
    let dir = tempfile::tempdir().unwrap();
    // Elsewhere: the site itself is granted as what holds the folders.
    let (site, foreign) = (dir.path().join("site"), dir.path().join("foreign"));
    for path in [&site, &foreign] {
        std::fs::create_dir(path).unwrap();
    }
    let mut config = config(&site);
    let path = site.join("c.toml");
    std::fs::write(&path, "").unwrap();
    let grants = granted(&needs::of(&config, &path, None));
    assert!(covered(&config, &path, &grants));
    config.folders[0].input = site.join("in/deeper");
    assert!(covered(&config, &path, &grants));
    config.folders[0].input = foreign.clone();
    assert!(!covered(&config, &path, &grants));
    config.folders[0].input = foreign.join("not-there-yet");
    assert!(!covered(&config, &path, &grants));
}

#[test]
fn sources_that_go_need_more_than_sources_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let access = |how| {
        let mut config = config(dir.path());
        config.folders[0].on_success = how;
        let needs = needs::of(&config, &dir.path().join("c.toml"), None);
        needs
            .into_iter()
            .find(|need| need.what.ends_with("input"))
            .unwrap()
            .access
    };
    assert_eq!(access(OnSuccess::Keep), Access::Read);
    assert_eq!(access(OnSuccess::Move), Access::Take);
    assert!(Access::Write.includes(Access::Take) && Access::Take.includes(Access::Read));
    assert!(!Access::Read.includes(Access::Take) && !Access::Write.includes(Access::Run));
}
