//! The virtual handset's `/data/system`, as Android 12 and later write it (ABX).
//!
//! In: the table of [`cast`](super::cast). Out: `packages.list`, `packages.xml`, the user list and
//! the preload folders.

use std::{fs, path::Path};

use super::{
    Error, Result,
    cast::{APPS, App, PRELOAD_FOLDERS, SECOND_USER},
};
use crate::inventory_writer::{Encoding, Model, Package, SharedUser, Updated, write_folder};

/// Writes the inventory into `dir`, which is made.
pub fn write(dir: &Path) -> Result<()> {
    let failed = |what: &str| Error::io(format!("{what} {}", dir.display()));
    fs::create_dir_all(dir).map_err(failed("making"))?;
    write_folder(&model(), Encoding::Abx, dir).map_err(failed("writing the inventory to"))
}

/// The apps of the cast.
pub fn model() -> Model {
    let mut shared_users: Vec<SharedUser> = Vec::new();
    for (name, user_id) in APPS
        .iter()
        .filter_map(|app| Some((app.shared_user?, appid(app))))
    {
        if !shared_users.iter().any(|known| known.user_id == user_id) {
            shared_users.push(SharedUser {
                name: name.to_owned(),
                user_id,
            });
        }
    }
    let updated = APPS.iter().filter_map(|app| {
        Some(Updated {
            name: app.package.to_owned(),
            code_path: app.replaced_path?.to_owned(),
            version: 1000,
            user_id: appid(app),
        })
    });
    Model {
        packages: APPS.iter().map(package).collect(),
        updated: updated.collect(),
        shared_users,
        users: vec![0, SECOND_USER],
        preloads: PRELOAD_FOLDERS
            .iter()
            .map(|(path, name)| ((*path).to_owned(), (*name).to_owned()))
            .collect(),
    }
}

fn package(app: &App) -> Package {
    Package {
        name: app.package.to_owned(),
        code_path: app.code_path.to_owned(),
        flags: app.flags,
        version: 1001,
        user_id: appid(app),
        shared: app.shared_user.is_some(),
        installer: app.installer.map(str::to_owned),
        signers: vec![app.certificate.to_vec()],
        past_signers: Vec::new(),
    }
}

fn appid(app: &App) -> i32 {
    i32::try_from(app.appid).expect("app ids are small")
}
