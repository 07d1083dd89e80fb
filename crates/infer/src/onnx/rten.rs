//! rten behind our own tensors.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{AsView, Layout, Tensor as RtenTensor};

use super::graph::Facts;
use super::sizes::{self, MAX_ELEMENTS, Size};
use super::{Data, Datatype, NetError, Port, Tensor};
use crate::caught::caught;

pub(super) struct Engine {
    model: Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    /// The shapes of the values that a run computes, as far as they are inferred, each once.
    shapes: Vec<Vec<Size>>,
}

thread_local! {
    /// rten works on a pool of threads. Jobs run side by side already, so each thread that runs one has a pool of a single thread, made when it
    /// first needs it; a common one would make jobs wait for each other.
    static POOL: OnceCell<Arc<ThreadPool>> = const { OnceCell::new() };
}

fn pool() -> Arc<ThreadPool> {
    POOL.with(|pool| pool.get_or_init(|| Arc::new(ThreadPool::with_num_threads(1))).clone())
}

impl Engine {
    pub(super) fn read(bytes: &[u8], facts: &Facts) -> Result<Self, NetError> {
        // Packing the weights beforehand made runs up to a tenth faster, and keeps them in memory twice.
        let load = || ModelOptions::with_all_ops().load(bytes.to_vec());
        // What it computes from constants, it computes on threads that the whole process shares.
        let model = caught(load).map_err(|why| NetError::Load(panicked(&why)))?;
        let model = model.map_err(|error| NetError::Load(short(&error)))?;
        let find = |ports: &[Port]| -> Result<Vec<NodeId>, NetError> {
            let node = |port: &Port| model.node_id(&port.name).map_err(|error| NetError::Load(short(&error)));
            ports.iter().map(node).collect()
        };
        let (inputs, outputs) = (find(&facts.inputs)?, find(&facts.outputs)?);
        let shapes: HashSet<Vec<Size>> = facts.values.iter().filter_map(|name| inferred(&model, name)).collect();
        let engine = Self { inputs, outputs, model, shapes: shapes.into_iter().collect() };
        engine.check_elements(&HashMap::new()).map_err(NetError::TooLarge)?;
        Ok(engine)
    }

    /// Refuses a run that would compute too large a tensor. `names` are the inputs' sizes.
    fn check_elements(&self, names: &HashMap<&str, i64>) -> Result<(), String> {
        let elements = self.shapes.iter().filter_map(|shape| sizes::elements(shape, names)).max().unwrap_or(0);
        if elements > MAX_ELEMENTS {
            return Err(format!("the net would compute a tensor of {elements} elements; {MAX_ELEMENTS} are the most"));
        }
        Ok(())
    }

    /// The sizes that rten's names of dimensions stand for.
    fn names<'a>(dims: &'a [Vec<Dimension>], inputs: &[Tensor]) -> HashMap<&'a str, i64> {
        let pairs = dims.iter().zip(inputs).flat_map(|(dims, tensor)| dims.iter().zip(&tensor.shape));
        let named = pairs.filter_map(|(dim, size)| match dim {
            Dimension::Symbolic(name) => Some((name.as_str(), i64::try_from(*size).unwrap_or(i64::MAX))),
            Dimension::Fixed(_) => None,
        });
        named.collect()
    }

    /// Runs on tensors in the order of the graph's inputs.
    pub(super) fn run(&self, inputs: Vec<Tensor>, ports: &[Port]) -> Result<Vec<Tensor>, NetError> {
        let dims: Vec<Vec<Dimension>> =
            (0..inputs.len()).map(|at| self.model.input_shape(at).unwrap_or_default()).collect();
        self.check_elements(&Self::names(&dims, &inputs)).map_err(NetError::Input)?;
        let values: Result<Vec<(NodeId, ValueOrView<'_>)>, NetError> =
            self.inputs.iter().zip(inputs).map(|(id, tensor)| Ok((*id, value(tensor)?.into()))).collect();
        let options = RunOptions::default().with_thread_pool(Some(pool()));
        let values = values?;
        let answers = caught(|| self.model.run(values, &self.outputs, Some(options)));
        // A model is the same after a run as before.
        let answers = answers.map_err(|why| NetError::Run(panicked(&why)))?;
        let answers = answers.map_err(|error| NetError::Run(short(&error)))?;
        answers.into_iter().zip(ports).map(|(value, port)| tensor(value, port)).collect()
    }
}

/// The numbers that a file's outputs are, if rten computes all of them while it loads it.
pub(super) fn constants(file: Vec<u8>) -> Result<Option<Vec<Vec<f64>>>, NetError> {
    let model = caught(|| ModelOptions::with_all_ops().load(file)).map_err(|why| NetError::Load(panicked(&why)))?;
    let model = model.map_err(|error| NetError::Load(short(&error)))?;
    let numbers = |id: &NodeId| {
        // Without inputs, only what is there already can be answered.
        let answers = caught(|| model.run(Vec::new(), &[*id], None)).ok()?.ok()?;
        Some(match answers.into_iter().next()? {
            Value::FloatTensor(tensor) => tensor.iter().map(|number| f64::from(*number)).collect(),
            Value::Int32Tensor(tensor) => tensor.iter().map(|number| f64::from(*number)).collect(),
            // No sizes.
            _ => vec![f64::NAN],
        })
    };
    Ok(model.output_ids().iter().map(numbers).collect())
}

/// A graph that rten was not made for can make it panic.
fn panicked(why: &str) -> String {
    format!("the engine panicked: {why}")
}

/// The shape of a value that is still there after the graph was optimised.
fn inferred(model: &Model, name: &str) -> Option<Vec<Size>> {
    let dims = model.node_info(model.find_node(name)?)?.shape()?;
    let size = |dim: Dimension| match dim {
        Dimension::Fixed(size) => i64::try_from(size).ok().map(Size::Number),
        Dimension::Symbolic(text) => Size::parse(&text),
    };
    dims.into_iter().map(size).collect()
}

/// An error's text. Names out of the model file can be of any length.
fn short(error: &dyn std::error::Error) -> String {
    error.to_string().chars().take(400).collect()
}

fn value(Tensor { shape, data }: Tensor) -> Result<Value, NetError> {
    fn of<T>(shape: &[usize], data: Vec<T>) -> RtenTensor<T> {
        RtenTensor::from_data(shape, data)
    }
    let narrow = |number: i64| {
        i32::try_from(number).map_err(|_| {
            NetError::Input("an INT64 must lie within 32 bits: the engine has no wider integers".to_owned())
        })
    };
    Ok(match data {
        Data::Bool(data) => of(&shape, data.into_iter().map(i32::from).collect()).into(),
        Data::Int8(data) => of(&shape, data).into(),
        Data::Uint8(data) => of(&shape, data).into(),
        Data::Int32(data) => of(&shape, data).into(),
        Data::Int64(data) => of(&shape, data.into_iter().map(narrow).collect::<Result<Vec<i32>, _>>()?).into(),
        Data::Fp32(data) => of(&shape, data).into(),
        Data::Fp64(data) => of(&shape, data.into_iter().map(|number| number as f32).collect()).into(),
    })
}

fn tensor(value: Value, port: &Port) -> Result<Tensor, NetError> {
    fn parts<T: Clone>(tensor: RtenTensor<T>) -> (Vec<usize>, Vec<T>) {
        (tensor.shape().to_vec(), tensor.to_vec())
    }
    let (shape, data) = match (value, port.datatype) {
        (Value::FloatTensor(tensor), Datatype::Fp32) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Fp32(data))
        }
        (Value::FloatTensor(tensor), Datatype::Fp64) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Fp64(data.into_iter().map(f64::from).collect()))
        }
        (Value::Int32Tensor(tensor), Datatype::Int32) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Int32(data))
        }
        (Value::Int32Tensor(tensor), Datatype::Int64) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Int64(data.into_iter().map(i64::from).collect()))
        }
        (Value::Int32Tensor(tensor), Datatype::Bool) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Bool(data.into_iter().map(|number| number != 0).collect()))
        }
        (Value::Int8Tensor(tensor), Datatype::Int8) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Int8(data))
        }
        (Value::UInt8Tensor(tensor), Datatype::Uint8) => {
            let (shape, data) = parts(tensor);
            (shape, Data::Uint8(data))
        }
        (other, declared) => {
            let kind = other.dtype();
            return Err(NetError::Run(format!("an output is {kind:?}, the graph declares it {declared}")));
        }
    };
    Ok(Tensor { shape, data })
}
