use std::time::Instant;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
fn main() {
    for (m, k, n) in
        [(1024usize, 896usize, 9728usize), (512, 896, 9728), (512, 4864, 896), (128, 896, 9728), (16, 896, 9728)]
    {
        let x = vec![0.5f32; m * k];
        let w = vec![0.25f32; n * k];
        let mut y = vec![0f32; m * n];
        let mut ts = vec![];
        for _ in 0..8 {
            let t = cpu();
            let _ = Instant::now();
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    y.as_mut_ptr(),
                    1,
                    n as isize,
                    false,
                    x.as_ptr(),
                    1,
                    k as isize,
                    w.as_ptr(),
                    k as isize,
                    1,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
            ts.push(cpu() - t);
        }
        ts.remove(0);
        ts.sort_by(|a, b| a.total_cmp(b));
        println!(
            "{m} {k} {n} GF/s per cpu s: {:.1} best {:.1}",
            2.0 * (m * k * n) as f64 / ts[3] / 1e9,
            2.0 * (m * k * n) as f64 / ts[0] / 1e9
        );
    }
}
