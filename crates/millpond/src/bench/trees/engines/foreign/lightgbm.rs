//! LightGBM's C API.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use libloading::Library;

use super::{checked, function, open};

const WHOSE: &str = "LightGBM";
const FROM: &str = "as the Python package lightgbm has it in lightgbm/lib/lib_lightgbm.so";

/// `C_API_DTYPE_FLOAT32`
const SINGLE: c_int = 0;
/// `C_API_PREDICT_NORMAL`
const NORMAL: c_int = 0;
const ROW_MAJOR: c_int = 1;
const ONE_THREAD: &CStr = c"num_threads=1";

/// The library.
pub struct LightGbm(Rc<Functions>);

struct Functions {
    last_error: unsafe extern "C" fn() -> *const c_char,
    table: unsafe extern "C" fn(
        *const c_void,
        c_int,
        i32,
        i32,
        c_int,
        *const c_char,
        *const c_void,
        *mut *mut c_void,
    ) -> c_int,
    set_field: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void, c_int, c_int) -> c_int,
    free_table: unsafe extern "C" fn(*mut c_void) -> c_int,
    create: unsafe extern "C" fn(*mut c_void, *const c_char, *mut *mut c_void) -> c_int,
    update: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    save: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, i64, *mut i64, *mut c_char) -> c_int,
    load: unsafe extern "C" fn(*const c_char, *mut c_int, *mut *mut c_void) -> c_int,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
    classes: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    features: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    predict: unsafe extern "C" fn(
        *mut c_void,
        *const c_void,
        c_int,
        i32,
        i32,
        c_int,
        c_int,
        c_int,
        c_int,
        *const c_char,
        *mut i64,
        *mut f64,
    ) -> c_int,
    prepare_row:
        unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, c_int, i32, *const c_char, *mut *mut c_void) -> c_int,
    predict_row: unsafe extern "C" fn(*mut c_void, *const c_void, *mut i64, *mut f64) -> c_int,
    free_row: unsafe extern "C" fn(*mut c_void) -> c_int,
    /// Keeps the code of all these where it is.
    _library: Library,
}

impl LightGbm {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let library = open(path, WHOSE, FROM)?;
        Ok(Self(Rc::new(Functions {
            last_error: named!(library, "LGBM_GetLastError"),
            table: named!(library, "LGBM_DatasetCreateFromMat"),
            set_field: named!(library, "LGBM_DatasetSetField"),
            free_table: named!(library, "LGBM_DatasetFree"),
            create: named!(library, "LGBM_BoosterCreate"),
            update: named!(library, "LGBM_BoosterUpdateOneIter"),
            save: named!(library, "LGBM_BoosterSaveModelToString"),
            load: named!(library, "LGBM_BoosterLoadModelFromString"),
            free: named!(library, "LGBM_BoosterFree"),
            classes: named!(library, "LGBM_BoosterGetNumClasses"),
            features: named!(library, "LGBM_BoosterGetNumFeature"),
            predict: named!(library, "LGBM_BoosterPredictForMat"),
            prepare_row: named!(library, "LGBM_BoosterPredictForMatSingleRowFastInit"),
            predict_row: named!(library, "LGBM_BoosterPredictForMatSingleRowFast"),
            free_row: named!(library, "LGBM_FastConfigFree"),
            _library: library,
        })))
    }

    /// Trains a model; its text.
    pub fn train(
        &self,
        rows: &[f32],
        features: usize,
        labels: &[f32],
        rounds: usize,
        parameters: &CStr,
    ) -> anyhow::Result<Vec<u8>> {
        let count = rows.len() / features;
        anyhow::ensure!(labels.len() == count, "{} labels for {count} rows", labels.len());
        let functions = &self.0;
        let checked = |code| functions.checked(code);
        let mut table = Owned { handle: null_mut(), free: functions.free_table };
        // SAFETY: as many rows as are said, a text that ends in NUL, no other table, and room for a handle.
        checked(unsafe {
            (functions.table)(
                rows.as_ptr().cast(),
                SINGLE,
                count.try_into()?,
                features.try_into()?,
                ROW_MAJOR,
                parameters.as_ptr(),
                null(),
                &mut table.handle,
            )
        })?;
        // SAFETY: a table, a text that ends in NUL, and as many labels as are said.
        checked(unsafe {
            let labels = (labels.as_ptr().cast(), labels.len().try_into()?);
            (functions.set_field)(table.handle, c"label".as_ptr(), labels.0, labels.1, SINGLE)
        })?;
        let mut booster = Owned { handle: null_mut(), free: functions.free };
        // SAFETY: a table that outlives the booster, a text that ends in NUL, and room for a handle.
        checked(unsafe { (functions.create)(table.handle, parameters.as_ptr(), &mut booster.handle) })?;
        for _ in 0..rounds {
            let mut finished = 0;
            // SAFETY: a booster, and room for a number.
            checked(unsafe { (functions.update)(booster.handle, &mut finished) })?;
            anyhow::ensure!(finished == 0, "LightGBM finds nothing more to split");
        }
        let (mut text, mut len) = (Vec::new(), 0);
        // The first call says how long the text is, its NUL included.
        for _ in 0..2 {
            text.resize(len as usize, 0_u8);
            // SAFETY: a booster, all rounds, and as much room as is said.
            checked(unsafe { (functions.save)(booster.handle, 0, -1, 0, len, &mut len, text.as_mut_ptr().cast()) })?;
        }
        text.pop();
        Ok(text)
    }

    /// Reads a model's text.
    pub fn load(&self, text: &[u8]) -> anyhow::Result<LightGbmBooster> {
        let text = CString::new(text)?;
        let functions = &self.0;
        let mut booster = LightGbmBooster {
            functions: Rc::clone(functions),
            handle: null_mut(),
            row: null_mut(),
            features: 0,
            outputs: 0,
        };
        let (mut rounds, mut classes, mut features) = (0, 0, 0);
        // SAFETY: a text that ends in NUL, and room for a number and a handle.
        functions.checked(unsafe { (functions.load)(text.as_ptr(), &mut rounds, &mut booster.handle) })?;
        // SAFETY: a booster, and room for a number.
        functions.checked(unsafe { (functions.classes)(booster.handle, &mut classes) })?;
        // SAFETY: a booster, and room for a number.
        functions.checked(unsafe { (functions.features)(booster.handle, &mut features) })?;
        booster.outputs = classes.try_into()?;
        booster.features = features.try_into()?;
        Ok(booster)
    }
}

impl Functions {
    fn checked(&self, code: c_int) -> anyhow::Result<()> {
        checked(code, WHOSE, self.last_error)
    }
}

/// What training makes on the library's side, until it is done.
struct Owned {
    handle: *mut c_void,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
}

impl Drop for Owned {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: made by the function that goes with this one, and not used again.
            unsafe { (self.free)(self.handle) };
        }
    }
}

/// A loaded model.
pub struct LightGbmBooster {
    functions: Rc<Functions>,
    handle: *mut c_void,
    /// What the library prepares once for single rows.
    row: *mut c_void,
    features: usize,
    /// How many answers a row gets.
    outputs: usize,
}

impl LightGbmBooster {
    /// Predicts for rows on one thread, into answers for which there is room.
    pub fn predict(&mut self, rows: &[f32], answers: &mut Vec<f64>) -> anyhow::Result<()> {
        let count = rows.len() / self.features;
        answers.resize(count * self.outputs, 0.0);
        let columns = self.features.try_into()?;
        let mut written = 0;
        let code = if count == 1 {
            if self.row.is_null() {
                // SAFETY: a booster, a text that ends in NUL, and room for a handle.
                self.functions.checked(unsafe {
                    let threads = ONE_THREAD.as_ptr();
                    (self.functions.prepare_row)(self.handle, NORMAL, 0, -1, SINGLE, columns, threads, &mut self.row)
                })?;
            }
            // SAFETY: what was prepared, for a row of as many features, and as much room as the model has outputs.
            unsafe { (self.functions.predict_row)(self.row, rows.as_ptr().cast(), &mut written, answers.as_mut_ptr()) }
        } else {
            // SAFETY: a booster, as many rows as are said, a text that ends in NUL, and as much room as that many rows' answers take.
            unsafe {
                (self.functions.predict)(
                    self.handle,
                    rows.as_ptr().cast(),
                    SINGLE,
                    count.try_into()?,
                    columns,
                    ROW_MAJOR,
                    NORMAL,
                    0,
                    -1,
                    ONE_THREAD.as_ptr(),
                    &mut written,
                    answers.as_mut_ptr(),
                )
            }
        };
        self.functions.checked(code)
    }
}

impl Drop for LightGbmBooster {
    fn drop(&mut self) {
        // SAFETY: both, if there, were made by the functions that go with these, and are not used again.
        unsafe {
            if !self.row.is_null() {
                (self.functions.free_row)(self.row);
            }
            if !self.handle.is_null() {
                (self.functions.free)(self.handle);
            }
        }
    }
}
