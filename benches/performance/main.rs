//! Measures what a run costs, table by table, as Markdown for `docs/performance.md`: `cargo bench --bench
//! performance`, or `-- throughput` for one of them. All of it on loopback, side by side in one run: machines differ,
//! ratios less. Prints figures; judges nothing.

#![allow(clippy::print_stdout)] // The tables are the output.

mod child;
mod grouped;
mod many;
mod overhead;
mod stand_in;
mod start;
mod throughput;

const TABLES: [(&str, fn()); 7] = [
    ("start", start::print),
    ("overhead", overhead::print),
    ("dispatch", start::print_dispatch),
    ("throughput", throughput::print),
    ("growth", throughput::print_growth),
    ("many", many::print),
    ("size", start::print_size),
];

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    match args.first().map(String::as_str) {
        Some(child::ARGUMENT) => return child::perform(&args[1..]),
        Some(throughput::FLOOR) => return throughput::perform_floor(&args[1..]),
        Some(overhead::NAIVE) => return overhead::perform_naive(&args[1..]),
        Some(many::CALLS) => return many::perform_calls(&args[1..]),
        Some(throughput::SERVE) => return throughput::serve(&args[1..]),
        _ => {}
    }
    let known = |arg: &&String| TABLES.iter().any(|(name, _)| name == arg);
    if let Some(unknown) = args.iter().find(|arg| !known(arg)) {
        let names = TABLES.map(|(name, _)| name).join(", ");
        println!("there is no table `{unknown}`: {names}");
        std::process::exit(2);
    }
    for (name, print) in TABLES {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            print();
        }
    }
}
