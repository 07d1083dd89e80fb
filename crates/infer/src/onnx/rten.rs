//! rten behind our own tensors.

use std::cell::OnceCell;
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{AsView, Layout, Tensor as RtenTensor};

use super::graph::Facts;
use super::{Data, Datatype, NetError, Port, Tensor};

pub(super) struct Engine {
    model: Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
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
        let load = || ModelOptions::with_all_ops().load(bytes.to_vec());
        let model = pool().run(load).map_err(|error| NetError::Load(short(&error)))?;
        let find = |ports: &[Port]| -> Result<Vec<NodeId>, NetError> {
            let node = |port: &Port| model.node_id(&port.name).map_err(|error| NetError::Load(short(&error)));
            ports.iter().map(node).collect()
        };
        let (inputs, outputs) = (find(&facts.inputs)?, find(&facts.outputs)?);
        Ok(Self { inputs, outputs, model })
    }

    /// Runs on tensors in the order of the graph's inputs.
    pub(super) fn run(&self, inputs: Vec<Tensor>, ports: &[Port]) -> Result<Vec<Tensor>, NetError> {
        let values: Result<Vec<(NodeId, ValueOrView<'_>)>, NetError> =
            self.inputs.iter().zip(inputs).map(|(id, tensor)| Ok((*id, value(tensor)?.into()))).collect();
        let options = RunOptions::default().with_thread_pool(Some(pool()));
        let answers = self.model.run(values?, &self.outputs, Some(options));
        let answers = answers.map_err(|error| NetError::Run(short(&error)))?;
        answers.into_iter().zip(ports).map(|(value, port)| tensor(value, port)).collect()
    }
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
