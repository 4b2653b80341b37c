//! Conditions on who sent.
//!
//! An unknown owner answers *no* to every question but `owner` and a class of *unknown*: nobody is
//! named who may not have sent. A set has a rule for unknown owners, so that this is no gap.

use std::collections::BTreeSet;

use super::Answer;
use crate::contact::{AppClass, Owner, Package};
use crate::glob::Glob;
use crate::rule_set::OwnerState;

/// Package names that a reason lists; the rest is counted.
const NAMES_SHOWN_MAX: usize = 3;

pub(super) fn state(owner: &Owner, wanted: &BTreeSet<OwnerState>) -> Answer {
    match owner.uid {
        Some(_) => Answer::yes_if(wanted.contains(&OwnerState::Known), || {
            format!("owner known: {}", who(owner))
        }),
        None => Answer::yes_if(wanted.contains(&OwnerState::Unknown), || {
            format!("owner not known (basis: {})", owner.basis)
        }),
    }
}

pub(super) fn class(owner: &Owner, wanted: &BTreeSet<AppClass>) -> Answer {
    let Some(uid) = owner.uid else {
        return Answer::yes_if(wanted.contains(&AppClass::Unknown), || {
            "owner not known".into()
        });
    };
    let asks_apps = wanted.iter().any(|class| is_app(*class));
    if owner.may_act_for_app && asks_apps {
        return Answer::NotKnown(format!(
            "UID {uid} is the platform and may act for an app on this socket"
        ));
    }
    if wanted.contains(&owner.class) {
        return Answer::Yes(format!("{} is {}", who(owner), class_text(owner.class)));
    }
    match owner.class {
        // Shipped with the handset, but no single app: not accused, and not passed over.
        AppClass::System if wanted.iter().any(|class| is_preload(*class)) => Answer::NotKnown(
            format!("UID {uid} is the platform ({}), not one app", count(owner)),
        ),
        AppClass::Unknown => unknown_class(owner, uid, wanted),
        _ => Answer::No,
    }
}

/// The UID's packages differ in class, or the inventory does not know.
fn unknown_class(owner: &Owner, uid: u32, wanted: &BTreeSet<AppClass>) -> Answer {
    let named = |package: &&Package| wanted.contains(&package.class);
    let packages = &owner.packages;
    if !packages.is_empty() && packages.iter().all(|package| named(&package)) {
        let classes: BTreeSet<AppClass> = packages.iter().map(|package| package.class).collect();
        let classes: Vec<&str> = classes.into_iter().map(class_text).collect();
        return Answer::Yes(format!("{}: each is {}", who(owner), classes.join(" or ")));
    }
    if let Some(package) = owner.packages.iter().filter(named).min_by_key(|p| &p.name) {
        return Answer::NotKnown(format!(
            "{} share UID {uid}, and not all of them are {} as {} is",
            names(owner.packages.iter()),
            class_text(package.class),
            package.name
        ));
    }
    let unclear = owner
        .packages
        .iter()
        .any(|package| package.class == AppClass::Unknown);
    if owner.packages.is_empty() || unclear {
        return Answer::NotKnown(format!(
            "the inventory does not say how {} came onto the handset",
            who(owner)
        ));
    }
    Answer::No
}

pub(super) fn user(owner: &Owner, wanted: &BTreeSet<u32>) -> Answer {
    match owner.user {
        Some(user) => Answer::yes_if(wanted.contains(&user), || format!("Android user {user}")),
        None => Answer::No,
    }
}

pub(super) fn package(owner: &Owner, globs: &BTreeSet<Glob>) -> Answer {
    share(owner, "the inventory knows no package of", |package| {
        Some(globs.iter().any(|glob| glob.matches(&package.name)))
    })
}

pub(super) fn signer(owner: &Owner, signers: &BTreeSet<String>) -> Answer {
    share(owner, "no signer is known of", |package| {
        signed_by(package, signers)
    })
}

/// Whether one of the signers signed it; none when its signers are not known.
pub(crate) fn signed_by(package: &Package, signers: &BTreeSet<String>) -> Option<bool> {
    if package.signers.is_empty() {
        return None;
    }
    Some(
        package
            .signers
            .iter()
            .any(|signer| signers.contains(signer)),
    )
}

/// A question to each package of the UID: yes only if it is yes for all.
fn share(
    owner: &Owner,
    when_not_known: &str,
    question: impl Fn(&Package) -> Option<bool>,
) -> Answer {
    let Some(uid) = owner.uid else {
        return Answer::No;
    };
    if owner.packages.is_empty() {
        return match owner.class {
            // A daemon of the platform is no package.
            AppClass::System => Answer::No,
            _ => Answer::NotKnown(format!("{when_not_known} UID {uid}")),
        };
    }
    let answers: Vec<Option<bool>> = owner.packages.iter().map(question).collect();
    if answers.iter().all(|answer| *answer == Some(true)) {
        return Answer::Yes(who(owner));
    }
    if answers.iter().all(|answer| *answer == Some(false)) {
        return Answer::No;
    }
    if answers.contains(&Some(true)) {
        let matching = owner
            .packages
            .iter()
            .zip(&answers)
            .filter(|(_, a)| **a == Some(true));
        return Answer::NotKnown(format!(
            "UID {uid} is shared by {}, of which only {} matches for certain",
            names(owner.packages.iter()),
            names(matching.map(|(package, _)| package))
        ));
    }
    Answer::NotKnown(format!("{when_not_known} {}", who(owner)))
}

/// How the owner is called in a reason.
pub(crate) fn who(owner: &Owner) -> String {
    let Some(uid) = owner.uid else {
        return "an unknown owner".into();
    };
    match owner.packages.as_slice() {
        [] => format!("UID {uid}"),
        packages => format!("{} (UID {uid})", names(packages.iter())),
    }
}

/// Package names, sorted, at most [`NAMES_SHOWN_MAX`] of them.
pub(super) fn names<'a>(packages: impl Iterator<Item = &'a Package>) -> String {
    let all: BTreeSet<&str> = packages.map(|package| package.name.as_str()).collect();
    let shown: Vec<&str> = all.iter().copied().take(NAMES_SHOWN_MAX).collect();
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn count(owner: &Owner) -> String {
    match owner.packages.len() {
        0 => "no package".into(),
        1 => "1 package".into(),
        more => format!("{more} packages"),
    }
}

fn class_text(class: AppClass) -> &'static str {
    match class {
        AppClass::Preloaded => "preloaded",
        AppClass::UpdatedPreload => "a preload, since updated",
        AppClass::DeletablePreload => "a preload that can be deleted",
        AppClass::User => "installed by the user",
        AppClass::System => "the platform",
        AppClass::Unknown => "of unknown class",
    }
}

fn is_preload(class: AppClass) -> bool {
    matches!(
        class,
        AppClass::Preloaded | AppClass::UpdatedPreload | AppClass::DeletablePreload
    )
}

fn is_app(class: AppClass) -> bool {
    is_preload(class) || class == AppClass::User
}
