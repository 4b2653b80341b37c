//! JNI library through which Sakshi learns what only Android itself knows.
//!
//! In: calls from the small Java part that `app_process` starts as root. Out: strings and numbers;
//! no JNI type and no panic crosses into the daemon. For now it says which version it is, so that
//! the Java side can refuse a library that does not match.

#![expect(unsafe_code, reason = "JNI finds a function by its exported name")]

use jni::{EnvUnowned, errors::ThrowRuntimeExAndDefault, objects::JClass, sys::jstring};

/// `org.sakshi.Shim.version()`: the version of this library, as a Java string.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_sakshi_Shim_version<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
) -> jstring {
    env.with_env(|env| {
        Ok::<_, jni::errors::Error>(env.new_string(env!("CARGO_PKG_VERSION"))?.into_raw())
    })
    .resolve::<ThrowRuntimeExAndDefault>()
}
