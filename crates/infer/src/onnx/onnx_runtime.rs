//! ONNX Runtime behind our own tensors: a shared library that the crate `ort` loads while the program runs.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Tensor as OrtTensor};

use super::{Data, Datatype, NetError, Port, Tensor};

/// The library, once it has been chosen.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// Loads ONNX Runtime from its shared library (`libonnxruntime.so`, 1.17 or later). Every net that is read from then on runs on it.
///
/// # Errors
///
/// [`NetError::Load`] if there is no such library, or another one was chosen before.
pub fn use_onnx_runtime(library: &Path) -> Result<(), NetError> {
    let fault = |why: &dyn std::fmt::Display| {
        NetError::Load(format!("ONNX Runtime at {} cannot be used: {why}", library.display()))
    };
    let environment = ort::init_from(library).map_err(|error| fault(&error))?;
    let environment = environment.with_name("millpond").with_telemetry(false).build().map_err(|error| fault(&error))?;
    ENVIRONMENT.set(environment).map_err(|_| fault(&"it was chosen before"))
}

pub(super) struct Engine {
    bytes: Vec<u8>,
    /// Those that no one runs. Running takes a session for oneself; a call that finds none makes another.
    idle: Mutex<Vec<Session>>,
}

impl Engine {
    /// Reads a net, if ONNX Runtime was chosen.
    pub(super) fn read(bytes: &[u8]) -> Option<Result<Self, NetError>> {
        let environment = ENVIRONMENT.get()?;
        let session = session(environment, bytes);
        Some(session.map(|session| Self { bytes: bytes.to_vec(), idle: Mutex::new(vec![session]) }))
    }

    pub(super) fn run(
        &self,
        inputs: Vec<Tensor>,
        input_ports: &[Port],
        output_ports: &[Port],
    ) -> Result<Vec<Tensor>, NetError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut session = match (taken, ENVIRONMENT.get()) {
            (Some(session), _) => session,
            (None, Some(environment)) => session(environment, &self.bytes)?,
            (None, None) => return Err(NetError::Run("ONNX Runtime is gone".to_owned())),
        };
        let answers = run(&mut session, inputs, input_ports, output_ports);
        idle().push(session);
        answers
    }
}

fn session(environment: &Environment, bytes: &[u8]) -> Result<Session, NetError> {
    let load = |error: &dyn std::fmt::Display| NetError::Load(short(error));
    let builder = Session::builder(environment).map_err(|error| load(&error))?;
    // Jobs run side by side already.
    let builder = builder.with_intra_threads(1).map_err(|error| load(&error))?;
    let builder = builder.with_inter_threads(1).map_err(|error| load(&error))?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::All);
    builder.map_err(|error| load(&error))?.commit_from_memory(bytes).map_err(|error| load(&error))
}

fn run(
    session: &mut Session,
    inputs: Vec<Tensor>,
    input_ports: &[Port],
    output_ports: &[Port],
) -> Result<Vec<Tensor>, NetError> {
    let failed = |error: ort::Error| NetError::Run(short(&error));
    let values: Result<Vec<(&str, DynValue)>, ort::Error> =
        input_ports.iter().zip(inputs).map(|(port, tensor)| Ok((&*port.name, value(tensor)?))).collect();
    let answers = session.run(values.map_err(failed)?).map_err(failed)?;
    let answer = |port: &Port| {
        let value = answers.get(&*port.name).ok_or_else(|| NetError::Run("an output is missing".to_owned()))?;
        tensor(value, port.datatype).map_err(failed)
    };
    output_ports.iter().map(answer).collect()
}

/// An error's text. Names out of the model file can be of any length.
fn short(error: &dyn std::fmt::Display) -> String {
    error.to_string().chars().take(400).collect()
}

fn value(Tensor { shape, data }: Tensor) -> Result<DynValue, ort::Error> {
    Ok(match data {
        Data::Bool(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
        Data::Int8(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
        Data::Uint8(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
        Data::Int32(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
        Data::Int64(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
        Data::Fp32(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
        Data::Fp64(data) => OrtTensor::from_array((shape, data))?.into_dyn(),
    })
}

fn tensor(value: &DynValue, datatype: Datatype) -> Result<Tensor, ort::Error> {
    let (shape, data) = match datatype {
        Datatype::Bool => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Bool(data.to_vec())))?,
        Datatype::Int8 => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Int8(data.to_vec())))?,
        Datatype::Uint8 => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Uint8(data.to_vec())))?,
        Datatype::Int32 => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Int32(data.to_vec())))?,
        Datatype::Int64 => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Int64(data.to_vec())))?,
        Datatype::Fp32 => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Fp32(data.to_vec())))?,
        Datatype::Fp64 => value.try_extract_tensor().map(|(shape, data)| (shape, Data::Fp64(data.to_vec())))?,
    };
    // No tensor that is there has a negative size.
    Ok(Tensor { shape: shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect(), data })
}
