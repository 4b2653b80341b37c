//! Kernel modules in the order in which they can be loaded.
//!
//! In: the list of `tests/emulated/modules`, and the text of `modules.dep` as `depmod` writes it.
//! Out: for each group the files to load, each after what it needs.

use std::collections::BTreeMap;

/// Groups and what they load, as paths below the kernel's folder.
pub type Groups = BTreeMap<String, Vec<String>>;

/// Resolves the list. A module that is neither a file nor built in is an error with its name.
pub fn resolve(list: &str, dependencies: &str, builtin: &str) -> Result<Groups, String> {
    let needs: BTreeMap<String, Vec<&str>> = dependencies
        .lines()
        .filter_map(|line| {
            let (module, needed) = line.split_once(':')?;
            // depmod lists what must be loaded first last.
            let files = needed.split_whitespace().rev().chain([module]).collect();
            Some((name(module), files))
        })
        .collect();
    let mut groups = Groups::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(group) = words.next() else { continue };
        let mut taken: Vec<String> = groups.values().flatten().cloned().collect();
        let mut files = Vec::new();
        for module in words {
            match needs.get(&module.replace('-', "_")) {
                Some(needed) => {
                    for file in needed {
                        if !taken.iter().any(|other| other == file) {
                            taken.push((*file).to_owned());
                            files.push((*file).to_owned());
                        }
                    }
                }
                None if builtin.lines().any(|built| name(built) == module) => {}
                None => return Err(format!("the kernel has no module {module}")),
            }
        }
        groups.entry(group.to_owned()).or_default().extend(files);
    }
    Ok(groups)
}

/// A module's name: its file's, without folders and endings, with underscores.
fn name(file: &str) -> String {
    let last = file.rsplit('/').next().unwrap_or(file);
    let stem = last.split_once(".ko").map_or(last, |(stem, _)| stem);
    stem.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let list = "# remark\nphone a\nphone b-c\nnflog d\n";
        let dep =
            "k/a.ko: k/x.ko k/y.ko.xz\nk/b_c.ko: k/x.ko\nk/d.ko: k/y.ko.xz\nk/x.ko:\nk/y.ko.xz:\n";
        let groups = resolve(list, dep, "").expect("resolved");
        assert_eq!(
            groups["phone"],
            ["k/y.ko.xz", "k/x.ko", "k/a.ko", "k/b_c.ko"]
        );
        assert_eq!(groups["nflog"], ["k/d.ko"]);
    }

    #[test]
    fn what_is_built_in_is_left_out_and_what_is_nowhere_has_its_name() {
        let groups = resolve("phone ext4\n", "", "kernel/fs/ext4/ext4.ko\n").expect("resolved");
        assert!(groups["phone"].is_empty());
        let error = resolve("phone nowhere\n", "", "").expect_err("not there");
        assert!(error.contains("nowhere"), "{error}");
    }
}
