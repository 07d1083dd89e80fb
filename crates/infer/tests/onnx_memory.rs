//! Loading a net takes at most four times its file and 64 MB. Alone in its process, so that no other test's memory is counted.

use std::collections::HashMap;

use infer::draft::{Choices, Task, prepare};
use infer::{draft, load};

#[path = "onnx/proto.rs"]
#[allow(dead_code, reason = "each test binary uses a part")]
mod proto;

use proto::{bytes, integers, model, node, number, port, tensor, varint};

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

const MEGABYTE: usize = 1 << 20;

/// x → Relu → y, with other fields of the graph.
fn relu(fields: &[Vec<u8>]) -> Vec<u8> {
    let mut graph = vec![port(11, "x", 1, &[-1]), port(12, "y", 1, &[-1]), node("Relu", &["x"], &["y"], &[])];
    graph.extend_from_slice(fields);
    model(&graph)
}

#[test]
fn loading_takes_four_times_the_file_and_64_mb() {
    let weights = |at: usize| {
        let raw: Vec<u8> = (0..MEGABYTE as u32).flat_map(|at| (at as f32 / 1e6).to_le_bytes()).collect();
        bytes(5, tensor(&format!("w{at}"), 1, &[1024, 1024], &raw))
    };
    let layers: Vec<Vec<u8>> = (0..6)
        .flat_map(|at| {
            let names = [format!("a{at}"), format!("w{at}"), format!("a{}", at + 1)];
            [weights(at), node("MatMul", &[&names[0], &names[1]], &[&names[2]], &[])]
        })
        .collect();
    let ports = [port(11, "a0", 1, &[-1, 1024]), port(12, "a6", 1, &[-1, 1024])];
    let packed = |count: usize| {
        let data = bytes(7, vec![1; count]);
        bytes(5, [number(1, count as u64), number(2, 7), bytes(8, "w"), data].concat())
    };
    let floats = |count: usize| {
        let data = bytes(4, vec![0; count * 4]);
        bytes(5, [number(1, count as u64), number(2, 1), bytes(8, "w"), data].concat())
    };
    let one_by_one = |count: usize| {
        let data: Vec<u8> = (0..count).flat_map(|_| [varint(4 << 3 | 5), vec![0; 4]].concat()).collect();
        bytes(5, [number(1, count as u64), number(2, 1), bytes(8, "w"), data].concat())
    };
    let chain = |count: usize| -> Vec<Vec<u8>> {
        (0..count).map(|at| node("Neg", &[&format!("v{at}")], &[&format!("v{}", at + 1)], &[])).collect()
    };
    let chained = |count: usize| {
        let ports = [port(11, "v0", 1, &[-1]), port(12, &format!("v{count}"), 1, &[-1])];
        model(&[chain(count).concat(), ports.concat()])
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("layers of 24 MB", model(&[layers.concat(), ports.concat()])),
        ("1.9 M integers of a byte", relu(&[packed(1_900_000)])),
        ("2 M floats, packed", relu(&[floats(2_000_000)])),
        ("2 M floats, one by one", relu(&[one_by_one(2_000_000)])),
        ("100,000 nodes without anything", relu(&vec![bytes(1, ""); 100_000])),
        ("60,000 nodes that nobody needs", relu(&vec![node("Neg", &["x"], &["z"], &[]); 60_000])),
        ("a chain of 4,000 nodes", chained(4_000)),
        ("a chain of 60,000 nodes", chained(60_000)),
        ("50,000 constants", relu(&(0..50_000).map(|at| integers(&at.to_string(), &[1])).collect::<Vec<_>>())),
        ("90,000 value infos", relu(&vec![bytes(13, ""); 90_000])),
        ("a constant of 512 MB", {
            model(&[
                port(11, "x", 1, &[-1]),
                port(12, "y", 1, &[-1]),
                integers("shape", &[1 << 27]),
                node("ConstantOfShape", &["shape"], &["big"], &[]),
                node("Add", &["x", "big"], &["y"], &[]),
            ])
        }),
    ];
    let choices = Choices { name: "n".into(), version: "1".into(), task: Some(Task::Tensors), ..Choices::default() };
    let mut over = Vec::new();
    for (name, bytes) in cases {
        // `prepare` and `draft` say which manifest to load it with; where they refuse it, loading is what they tried.
        let (file, prepared) = prepare(&bytes, &choices).unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let drafted = draft(file, &prepared, &choices);
        let outcome = match &drafted {
            Ok(manifest) => {
                let files = HashMap::from([(file.to_owned(), &*prepared)]);
                MEMORY.reset_peak_usage();
                load(manifest, &files).map(|_| "loaded".to_owned()).unwrap_or_else(|error| error.to_string())
            }
            Err(error) => format!("{error:?}").chars().take(100).collect(),
        };
        let used = MEMORY.peak_usage() - before;
        println!("{name}: {used} bytes for {}: {outcome}", bytes.len());
        if used > 4 * bytes.len() + 64 * MEGABYTE {
            over.push(format!("{name}: {used} bytes for {}", bytes.len()));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
