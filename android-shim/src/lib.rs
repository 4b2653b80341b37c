//! JNI library through which Sakshi learns what only Android itself knows.
//!
//! In: calls from the small Java part that `app_process` starts as root. Out: observations on the
//! daemon's control socket. Four functions are exported; no JNI type goes
//! further than this file, and no panic leaves it.

#![expect(unsafe_code, reason = "JNI finds a function by its exported name")]

pub mod link;

use jni::{
    Env, EnvUnowned,
    errors::{Error, ThrowRuntimeExAndDefault},
    objects::{JByteArray, JClass, JObjectArray, JString},
    sys::{jboolean, jstring},
};
use sha2::{Digest as _, Sha256};

/// Most names and values of one call; the daemon takes 64 facts.
const WORDS_MAX: usize = 256;

/// `org.sakshi.Shim.version()`: the version of this library.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_sakshi_Shim_version<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
) -> jstring {
    env.with_env(|env| Ok::<_, Error>(env.new_string(env!("CARGO_PKG_VERSION"))?.into_raw()))
        .resolve::<ThrowRuntimeExAndDefault>()
}

/// `org.sakshi.Shim.tell(folder, topic, namesAndValues)`: tells the daemon whose socket is in the
/// folder. Answers null when it is on record, else why it is not. Whatever is null is refused.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_sakshi_Shim_tell<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    folder: JString<'local>,
    topic: JString<'local>,
    facts: JObjectArray<'local, JString<'local>>,
) -> jstring {
    env.with_env(|env| {
        let told = match words(env, &folder, &topic, &facts)? {
            Ok((folder, topic, facts)) => link::tell(folder.as_ref(), &topic, &facts),
            Err(missing) => Err(missing),
        };
        match told {
            Ok(()) => Ok(std::ptr::null_mut()),
            Err(why) => Ok::<_, Error>(env.new_string(why.to_string())?.into_raw()),
        }
    })
    .resolve::<ThrowRuntimeExAndDefault>()
}

/// `org.sakshi.Shim.listens(folder)`: whether a daemon listens on a socket in the folder; for null
/// none does.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_sakshi_Shim_listens<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    folder: JString<'local>,
) -> jboolean {
    env.with_env(|env| {
        let listens = !folder.is_null() && link::listens(folder.try_to_string(env)?.as_ref());
        Ok::<_, Error>(listens)
    })
    .resolve::<ThrowRuntimeExAndDefault>()
}

/// `org.sakshi.Shim.sha256(bytes)`: lower-case hex of the hash; null for null.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_sakshi_Shim_sha256<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    bytes: JByteArray<'local>,
) -> jstring {
    env.with_env(|env| {
        if bytes.is_null() {
            return Ok(std::ptr::null_mut());
        }
        let bytes = env.convert_byte_array(&bytes)?;
        Ok::<_, Error>(env.new_string(hex(&Sha256::digest(bytes)))?.into_raw())
    })
    .resolve::<ThrowRuntimeExAndDefault>()
}

type Words = (String, String, Vec<String>);

/// Java's words as ours, or which of them is missing.
fn words(
    env: &mut Env<'_>,
    folder: &JString<'_>,
    topic: &JString<'_>,
    facts: &JObjectArray<'_, JString<'_>>,
) -> Result<Result<Words, link::LinkError>, Error> {
    if folder.is_null() || topic.is_null() || facts.is_null() {
        return Ok(Err(link::LinkError::Null));
    }
    let count = facts.len(env)?;
    if count > WORDS_MAX {
        return Ok(Err(link::LinkError::Words(count)));
    }
    let mut all = Vec::with_capacity(count);
    for index in 0..count {
        let word = facts.get_element(env, index)?;
        if word.is_null() {
            return Ok(Err(link::LinkError::Null));
        }
        all.push(word.try_to_string(env)?);
        // A long array must not use up the frame's references.
        env.delete_local_ref(word);
    }
    Ok(Ok((
        folder.try_to_string(env)?,
        topic.try_to_string(env)?,
        all,
    )))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| DIGITS.get(usize::from(digit)))
        .map(|digit| char::from(*digit))
        .collect()
}
