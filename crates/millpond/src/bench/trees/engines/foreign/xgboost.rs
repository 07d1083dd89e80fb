//! XGBoost's C API.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ops::Range;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use libloading::Library;

use super::{checked, function, open};

const WHOSE: &str = "XGBoost";
const FROM: &str = "as the Python package xgboost-cpu has it in xgboost/lib/libxgboost.so";

/// The library.
pub struct XgBoost(Rc<Functions>);

struct Functions {
    last_error: unsafe extern "C" fn() -> *const c_char,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int),
    create: unsafe extern "C" fn(*const *mut c_void, u64, *mut *mut c_void) -> c_int,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
    set: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int,
    load: unsafe extern "C" fn(*mut c_void, *const c_void, u64) -> c_int,
    predict: unsafe extern "C" fn(
        *mut c_void,
        *const c_char,
        *const c_char,
        *mut c_void,
        *mut *const u64,
        *mut u64,
        *mut *const f32,
    ) -> c_int,
    /// Keeps the code of all these where it is.
    _library: Library,
}

impl XgBoost {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let library = open(path, WHOSE, FROM)?;
        Ok(Self(Rc::new(Functions {
            last_error: named!(library, "XGBGetLastError"),
            version: named!(library, "XGBoostVersion"),
            create: named!(library, "XGBoosterCreate"),
            free: named!(library, "XGBoosterFree"),
            set: named!(library, "XGBoosterSetParam"),
            load: named!(library, "XGBoosterLoadModelFromBuffer"),
            predict: named!(library, "XGBoosterPredictFromDense"),
            _library: library,
        })))
    }

    /// Major, minor, patch.
    pub fn version(&self) -> [c_int; 3] {
        let mut version = [0; 3];
        let [major, minor, patch] = &mut version;
        // SAFETY: writes three numbers, for which there is room.
        unsafe { (self.0.version)(major, minor, patch) };
        version
    }

    /// Reads a model file, JSON or UBJ, into a booster that runs on one thread.
    pub fn load(&self, file: &[u8]) -> anyhow::Result<XgBoostBooster> {
        let mut handle = null_mut();
        // SAFETY: no matrices, so that none are read; a handle is written.
        self.0.checked(unsafe { (self.0.create)(null(), 0, &mut handle) })?;
        let booster = XgBoostBooster { functions: Rc::clone(&self.0), handle, answers: null(), len: 0 };
        // SAFETY: a booster and two texts that end in NUL.
        self.0.checked(unsafe { (self.0.set)(handle, c"nthread".as_ptr(), c"1".as_ptr()) })?;
        // SAFETY: as many bytes as are said.
        self.0.checked(unsafe { (self.0.load)(handle, file.as_ptr().cast(), file.len() as u64) })?;
        Ok(booster)
    }
}

impl Functions {
    fn checked(&self, code: c_int) -> anyhow::Result<()> {
        checked(code, WHOSE, self.last_error)
    }
}

/// How the library is told where rows are: NumPy's array interface. Making it is no part of predicting.
pub struct RowsDescription {
    text: CString,
    of: Range<*const f32>,
}

impl RowsDescription {
    pub fn of(rows: &[f32], features: usize) -> anyhow::Result<Self> {
        let (at, count) = (rows.as_ptr() as usize, rows.len() / features);
        let text = format!(r#"{{"data":[{at},true],"shape":[{count},{features}],"typestr":"<f4","version":3}}"#);
        Ok(Self { text: CString::new(text)?, of: rows.as_ptr_range() })
    }
}

/// A loaded model.
pub struct XgBoostBooster {
    functions: Rc<Functions>,
    handle: *mut c_void,
    /// The last answers, which lie in the booster until it predicts again.
    answers: *const f32,
    len: usize,
}

impl XgBoostBooster {
    /// Predicts for rows, whose description was made of them.
    pub fn predict(&mut self, rows: &[f32], description: &RowsDescription) -> anyhow::Result<()> {
        const HOW: &CStr =
            c"{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_shape\":true,\
            \"missing\":NaN,\"cache_id\":0}";
        anyhow::ensure!(description.of == rows.as_ptr_range(), "the rows are not those of the description");
        let (mut shape, mut dimensions, mut answers) = (null(), 0, null());
        // SAFETY: a booster, texts that end in NUL, the rows that are described, as was checked, no matrix of further facts,
        // and room for what is written.
        let code = unsafe {
            (self.functions.predict)(
                self.handle,
                description.text.as_ptr(),
                HOW.as_ptr(),
                null_mut(),
                &mut shape,
                &mut dimensions,
                &mut answers,
            )
        };
        self.functions.checked(code)?;
        // SAFETY: the library has written where this many sizes are.
        let shape = unsafe { std::slice::from_raw_parts(shape, dimensions as usize) };
        self.len = shape.iter().product::<u64>() as usize;
        self.answers = answers;
        Ok(())
    }

    /// What was predicted last.
    pub fn answers(&self) -> &[f32] {
        if self.answers.is_null() {
            return &[];
        }
        // SAFETY: the booster keeps them until it predicts again, for which it must be borrowed alone.
        unsafe { std::slice::from_raw_parts(self.answers, self.len) }
    }
}

impl Drop for XgBoostBooster {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and not used again. A failure leaves nothing to be done.
        unsafe { (self.functions.free)(self.handle) };
    }
}
