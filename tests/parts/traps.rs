//! Operations that the laboratory's networks replace because of faults of Candle 0.11.1. Each test shows one fault and
//! fails once it is fixed: Candle's operation may be used then.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use candle_core::{D, DType, Device, Result, Tensor, Var};

/// How far Candle's gradient of a function's sum is from central differences, over the largest difference.
fn error_of(shape: &[usize], function: impl Fn(&Tensor) -> Result<Tensor>) -> Result<f64> {
    let n: usize = shape.iter().product();
    let start: Vec<f64> = (0..n)
        .map(|i| (i as f64 * 0.7 + (i as f64 * 0.13).sin()).sin())
        .collect();
    // Distinct weights, so that no two places are interchangeable.
    let sum = |x: &Tensor| -> Result<Tensor> {
        let y = function(x)?.flatten_all()?;
        let weights: Vec<f64> = (0..y.elem_count())
            .map(|i| 1.0 + (i as f64 * 1.3).cos())
            .collect();
        (&y * Tensor::from_vec(weights, y.elem_count(), &Device::Cpu)?)?.sum_all()
    };
    let x = Var::from_vec(start.clone(), shape, &Device::Cpu)?;
    let found = match sum(&x)?.backward()?.get(&x) {
        Some(found) => found.flatten_all()?.to_vec1::<f64>()?,
        None => vec![0.0; n],
    };
    let mut furthest = 0.0f64;
    let mut largest = 0.0f64;
    for at in 0..n {
        let moved = |step: f64| -> Result<f64> {
            let mut values = start.clone();
            values[at] += step;
            sum(&Tensor::from_vec(values, shape, &Device::Cpu)?)?.to_scalar()
        };
        let slope = (moved(1e-6)? - moved(-1e-6)?) / 2e-6;
        furthest = furthest.max((slope - found[at]).abs());
        largest = largest.max(slope.abs());
    }
    Ok(furthest / largest)
}

fn kernel(shape: &[usize]) -> Result<Tensor> {
    let n: usize = shape.iter().product();
    Tensor::from_vec(
        (0..n).map(|i| (i as f64 * 1.1).cos()).collect::<Vec<f64>>(),
        shape,
        &Device::Cpu,
    )
}

/// The gradient of a variable.
fn gradient(y: &Tensor, x: &Var) -> Result<Option<Vec<f32>>> {
    y.sum_all()?
        .backward()?
        .get(x)
        .map(|found| found.flatten_all()?.to_vec1())
        .transpose()
}

#[test]
fn conv1d_has_a_wrong_gradient_and_an_image_of_one_row_has_not() -> Result<()> {
    let weight = kernel(&[3, 2, 3])?;
    let wrong = error_of(&[2, 2, 7], |x| x.conv1d(&weight, 0, 1, 1, 1))?;
    assert!(wrong > 0.1, "conv1d has been put right: {wrong:e}");
    let row = weight.unsqueeze(2)?;
    let right = error_of(&[2, 2, 7], |x| {
        x.unsqueeze(2)?.conv2d(&row, 0, 1, 1, 1)?.squeeze(2)
    })?;
    assert!(right < 1e-6, "{right:e}");
    Ok(())
}

#[test]
fn pools_of_odd_sides_have_wrong_gradients() -> Result<()> {
    for (name, wrong) in [
        ("max_pool2d", error_of(&[1, 2, 5, 7], |x| x.max_pool2d(2))?),
        ("avg_pool2d", error_of(&[1, 2, 5, 7], |x| x.avg_pool2d(2))?),
    ] {
        assert!(wrong > 0.1, "{name} has been put right: {wrong:e}");
    }
    let right = error_of(&[1, 2, 5, 7], |x| {
        let x = x
            .narrow(2, 0, 4)?
            .narrow(3, 0, 6)?
            .contiguous()?
            .reshape((1, 2, 2, 2, 3, 2))?;
        let x = x.transpose(3, 4)?.contiguous()?.reshape((1, 2, 2, 3, 4))?;
        x.gather(&x.argmax_keepdim(D::Minus1)?, D::Minus1)
    })?;
    assert!(right < 1e-6, "{right:e}");
    Ok(())
}

#[test]
fn a_maximum_gives_all_of_its_gradient_to_each_of_equal_places() -> Result<()> {
    let x = Var::from_slice(&[1.0f32, 3.0, 3.0], 3, &Device::Cpu)?;
    assert_eq!(gradient(&x.max(0)?, &x)?, Some(vec![0.0, 1.0, 1.0]));
    let first = x.gather(&x.argmax_keepdim(0)?, 0)?;
    assert_eq!(gradient(&first, &x)?, Some(vec![0.0, 1.0, 0.0]));
    Ok(())
}

#[test]
fn relu_has_a_slope_at_zero() -> Result<()> {
    let x = Var::from_slice(&[-1.0f32, 0.0, 2.0], 3, &Device::Cpu)?;
    assert_eq!(gradient(&x.relu()?, &x)?, Some(vec![0.0, 1.0, 1.0]));
    let masked = (x.as_tensor() * x.gt(0.0)?.to_dtype(DType::F32)?.detach())?;
    assert_eq!(gradient(&masked, &x)?, Some(vec![0.0, 0.0, 1.0]));
    Ok(())
}

#[test]
fn fused_softmax_and_norms_silently_lack_a_gradient() -> Result<()> {
    let x = Var::from_slice(&[0.1f32, 0.5, -0.3, 2.0], (2, 2), &Device::Cpu)?;
    let one = Tensor::ones(2, DType::F32, &Device::Cpu)?;
    let weighted = |y: Tensor| y.broadcast_mul(&Tensor::new(&[1.0f32, 3.0], &Device::Cpu)?);
    for (name, y) in [
        ("softmax_last_dim", candle_nn::ops::softmax_last_dim(&x)?),
        ("rms_norm", candle_nn::ops::rms_norm(&x, &one, 1e-5)?),
        (
            "layer_norm",
            candle_nn::ops::layer_norm(&x, &one, &one, 1e-5)?,
        ),
    ] {
        let found = weighted(y)?
            .sum_all()?
            .backward()
            .ok()
            .and_then(|all| all.get(&x).cloned());
        assert!(found.is_none(), "{name} has got a gradient");
    }
    assert!(gradient(&weighted(candle_nn::ops::softmax(&x, 1)?)?, &x)?.is_some());
    Ok(())
}

#[test]
fn random_numbers_on_the_cpu_cannot_be_seeded() {
    assert!(
        Device::Cpu.set_seed(1).is_err(),
        "dropout and first weights may come from Candle now"
    );
}

/// Candle 0.11.1 multiplies the gradient by the mean of the mask of maxima
/// where it should divide by the number of maxima: one maximum among four gets 1/4, not 1.
#[test]
fn candle_takes_a_quarter_of_the_gradient_of_a_maximum_pool() -> Result<()> {
    let x = Var::from_slice(&[1.0f32, 2.0, 4.0, 3.0], (1, 1, 2, 2), &Device::Cpu)?;
    let found = gradient(&x.max_pool2d(2)?, &x)?;
    assert_eq!(found, Some(vec![0.0, 0.0, 0.25, 0.0]));
    Ok(())
}
