//! Products with weights, by cuBLASLt.
//!
//! A weight's algorithm is chosen once, for many rows, and stays for any number of them: the first
//! that the library names which does not split a sum among blocks, and which takes few rows, too.
//! So a row's sums are made in an order that depends on the weight's dimensions alone. Sums over
//! rows, for a weight's gradient, have their algorithm by how many rows there are.
#![allow(unsafe_code)]

use super::buffer::View;
use super::driver::{Form, Product};
use super::element::Kind;
use crate::error::{Error, Result};
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::size_of_val;
use std::sync::{Mutex, PoisonError};

/// How many rows an algorithm is chosen for.
const ROWS: usize = 4096;

/// How many rows it has to take besides: one, and some that no tile's height divides.
const FEW_ROWS: [usize; 3] = [1, 17, 1000];

/// How many algorithms are looked at.
const ALGORITHMS: usize = 32;

/// CUBLAS_OP_T, of cuBLAS's header; cuBLASLt's does not have it. CUBLAS_OP_N is 0.
const TRANSPOSED: i32 = 1;

/// cuBLASLt, and what it has chosen.
pub(super) struct Products {
    handle: Handle,
    chosen: Mutex<HashMap<Choice, sys::cublasLtMatmulAlgo_t>>,
}

/// What an algorithm is chosen by: dimensions, distances, what is turned, by how many bytes what
/// can be divided where the operands begin, and in what operands and result are.
type Choice = ([usize; 3], [usize; 3], [bool; 2], [u32; 3], [u8; 2]);

/// What the library takes for granted, and memory begins at, unless it is told otherwise.
const ALIGNED_BYTES: u64 = 256;

/// By how many bytes a place can be divided: a power of two.
fn alignment(address: u64) -> u32 {
    1 << (address | ALIGNED_BYTES).trailing_zeros()
}

/// Where the library writes what it says of an algorithm.
const NO_RESULT: sys::cublasLtMatmulHeuristicResult_t = sys::cublasLtMatmulHeuristicResult_t {
    algo: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
    workspaceSize: 0,
    state: sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED,
    wavesCount: 0.0,
    reserved: [0; 4],
};

struct Handle(sys::cublasLtHandle_t);

// SAFETY: cuBLASLt's handle may be used by several threads at a time (its manual, §3.1.1).
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by the library, given back once.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

fn failed(error: CublasError) -> Error {
    Error::Device(format!("cublaslt: {:?}", error.0))
}

/// Which product failed, by what it is made of.
fn failed_for(product: &Product) -> impl FnOnce(Error) -> Error {
    let (size, factors) = (product.size(), product.factors());
    move |error| {
        Error::Device(format!(
            "{error}: for a product of {factors:?}, rows, outputs, inputs {size:?}"
        ))
    }
}

impl Products {
    /// Loads the library. A context must be bound.
    pub(super) fn open() -> Result<Self> {
        // SAFETY: loads the library if it is there and calls nothing in it.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Device(
                "libcublasLt is not there: it comes with the CUDA toolkit, or with `pip install \
                 nvidia-cublas` and its folder in LD_LIBRARY_PATH"
                    .into(),
            ));
        }
        let handle = Handle(result::create_handle().map_err(failed)?);
        Ok(Self { handle, chosen: Mutex::default() })
    }

    /// Starts a product on a stream.
    pub(super) fn run(
        &self,
        product: &Product,
        stream: cudarc::driver::sys::CUstream,
    ) -> Result<()> {
        let Form { scale, add, .. } = product.form();
        let algorithm = self.algorithm(product)?;
        let plan = Plan::new(product, product.size())?;
        let [a, b, c] = product.operands().each_ref().map(View::address);
        let kept = f32::from(u8::from(add));
        // SAFETY: the plan is alive; the operands are as long as its layouts say, which
        // `Product::new` has seen, and their handles keep them until the driver, when freeing, has
        // waited; the scales are read before the call returns. There is no workspace.
        unsafe {
            result::matmul(
                self.handle.0,
                plan.description,
                (&raw const scale).cast(),
                (&raw const kept).cast(),
                b as *const c_void,
                plan.weight,
                a as *const c_void,
                plan.rows,
                c as *const c_void,
                plan.out,
                c as *mut c_void,
                plan.out,
                &raw const algorithm,
                std::ptr::null_mut(),
                0,
                stream.cast(),
            )
        }
        .map_err(failed)
        .map_err(failed_for(product))
    }

    fn algorithm(&self, product: &Product) -> Result<sys::cublasLtMatmulAlgo_t> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let ([mut rows, outputs, inputs], form) = (product.size(), product.form());
        if !form.a_turned {
            rows = ROWS; // any number of rows
        }
        let size = [rows, outputs, inputs];
        let turned = [form.a_turned, form.b_turned];
        // Parts of a matrix begin where others end.
        let aligned = product.operands().each_ref().map(|view| alignment(view.address()));
        let kinds = [product.factors(), product.kind()];
        let choice = (size, form.apart, turned, aligned, kinds.map(|kind| kind as u8));
        if let Some(algorithm) = chosen.get(&choice) {
            return Ok(*algorithm);
        }
        let algorithm = self.first_of(product, size, aligned).map_err(failed_for(product))?;
        chosen.insert(choice, algorithm);
        Ok(algorithm)
    }

    /// The first of the library's algorithms that makes a row's sums in one order.
    fn first_of(
        &self,
        product: &Product,
        size: [usize; 3],
        aligned: [u32; 3],
    ) -> Result<sys::cublasLtMatmulAlgo_t> {
        let few = if product.form().a_turned { &[][..] } else { &FEW_ROWS };
        let few = few.iter().map(|rows| Plan::new(product, [*rows, size[1], size[2]]));
        let few = few.collect::<Result<Vec<Plan>>>()?;
        let mut all = Plan::new(product, size)?.algorithms(&self.handle, aligned)?;
        all.retain(|algorithm| !splits(algorithm));
        let fits = |algorithm: &&sys::cublasLtMatmulAlgo_t| {
            few.iter().all(|plan| plan.takes(&self.handle, algorithm))
        };
        // Where none is known to take few rows, those that are many are multiplied all the same.
        let found = all.iter().find(fits).or(all.first());
        found.copied().ok_or_else(|| Error::Device("cublaslt: there is no algorithm".into()))
    }
}

/// Whether an algorithm says that it adds up a sum in several parts.
fn splits(algorithm: &sys::cublasLtMatmulAlgo_t) -> bool {
    use sys::cublasLtMatmulAlgoConfigAttributes_t as Attribute;
    let parts = [
        (Attribute::CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 1),
        (Attribute::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 0),
    ];
    parts.into_iter().any(|(attribute, most)| {
        let (mut found, mut written) = (0i32, 0);
        // SAFETY: the algorithm is whole, both attributes are of 32 bits, and as many are written.
        let status = unsafe {
            let (to, bytes) = ((&raw mut found).cast(), size_of_val(&found));
            sys::cublasLtMatmulAlgoConfigGetAttribute(
                algorithm,
                attribute,
                to,
                bytes,
                &raw mut written,
            )
        };
        status == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS && found > most
    })
}

/// The dimensions of a product, as cuBLASLt wants them: its matrices are column-major, so it
/// computes outᵀ (outputs, rows) = weight (outputs, inputs) · rowsᵀ (inputs, rows).
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    rows: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
}

impl Plan {
    /// Of a product, for as many rows as `size` says.
    ///
    /// Numbers of 32 bits are multiplied as they are, not rounded to fewer (CUBLAS_COMPUTE_32F).
    /// FP8 numbers are summed without the shortcut that keeps fewer bits of sums on the way
    /// (CUBLASLT_MATMUL_DESC_FAST_ACCUM, which is off unless asked for), and their scales are
    /// applied by what reads the sums.
    fn new(product: &Product, [rows, outputs, inputs]: [usize; 3]) -> Result<Self> {
        let form = product.form();
        let named = |kind| match kind {
            Kind::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
            Kind::U8 => sys::cudaDataType_t::CUDA_R_8F_E4M3,
            _ => sys::cudaDataType_t::CUDA_R_32F,
        };
        let [factor, c_kind] = [product.factors(), product.kind()].map(named);
        // What lies row by row is, read by columns, its transpose.
        let layout = |kind, [high, wide]: [usize; 2], turned: bool, apart: usize| {
            let [high, wide] = if turned { [wide, high] } else { [high, wide] };
            result::create_matrix_layout(kind, wide as u64, high as u64, apart as i64)
                .map_err(failed)
        };
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let scale = sys::cudaDataType_t::CUDA_R_32F;
        let description = result::create_matmul_desc(compute, scale).map_err(failed)?;
        let null = std::ptr::null_mut();
        let mut plan = Self { description, weight: null, rows: null.cast(), out: null.cast() };
        let [a, b, c] = form.apart;
        plan.weight = layout(factor, [outputs, inputs], form.b_turned, b)?;
        plan.rows = layout(factor, [rows, inputs], form.a_turned, a)?;
        plan.out = layout(c_kind, [rows, outputs], false, c)?;
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        plan.turn(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, !form.b_turned)?;
        plan.turn(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, form.a_turned)?;
        Ok(plan)
    }

    /// Says whether an operand is to be transposed.
    fn turn(&self, which: sys::cublasLtMatmulDescAttributes_t, turned: bool) -> Result<()> {
        let operation = i32::from(turned) * TRANSPOSED;
        // SAFETY: the description is alive, and the attribute is an i32.
        unsafe {
            let (value, bytes) = ((&raw const operation).cast(), size_of_val(&operation));
            result::set_matmul_desc_attribute(self.description, which, value, bytes)
        }
        .map_err(failed)
    }

    /// Whether an algorithm that was found for other rows takes these, without a workspace.
    fn takes(&self, handle: &Handle, algorithm: &sys::cublasLtMatmulAlgo_t) -> bool {
        let Self { description, weight, rows, out } = *self;
        let mut said = NO_RESULT;
        // SAFETY: description and layouts are alive, and one result is written.
        let status = unsafe {
            let said = &raw mut said;
            let (handle, algorithm) = (handle.0, &raw const *algorithm);
            sys::cublasLtMatmulAlgoCheck(
                handle,
                description,
                weight,
                rows,
                out,
                out,
                algorithm,
                said,
            )
        };
        let accepted = sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS;
        status == accepted && said.state == accepted && said.workspaceSize == 0
    }

    /// The algorithms that need no workspace and do not split sums, those first that the library
    /// thinks fastest.
    fn algorithms(
        &self,
        handle: &Handle,
        aligned: [u32; 3],
    ) -> Result<Vec<sys::cublasLtMatmulAlgo_t>> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        let preference = result::create_matmul_pref().map_err(failed)?;
        let (workspace, splits) = (0usize, 0u32);
        let mut results = [NO_RESULT; ALGORITHMS];
        // The library's first operand is the weight: `Plan::new`.
        let [rows, weight, out] = aligned;
        let alignments = [
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, weight),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, rows),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out),
        ];
        // SAFETY: the preference is alive until it is given back, and each attribute is of the type
        // that is given: a u64, a mask of 32 bits, where 0 is no reduction among blocks, and u32s;
        // there is room for as many results as are asked for.
        let found = unsafe {
            let set = |attribute, value: *const c_void, bytes| {
                result::set_matmul_pref_attribute(preference, attribute, value, bytes)
            };
            set(
                Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace).cast(),
                size_of_val(&workspace),
            )
            .and_then(|()| {
                set(
                    Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    (&raw const splits).cast(),
                    size_of_val(&splits),
                )
            })
            .and_then(|()| {
                alignments.iter().try_for_each(|(attribute, bytes)| {
                    set(*attribute, (&raw const *bytes).cast(), size_of_val(bytes))
                })
            })
            .and_then(|()| {
                let Self { description, weight, rows, out } = *self;
                let mut count = 0;
                sys::cublasLtMatmulAlgoGetHeuristic(
                    handle.0,
                    description,
                    weight,
                    rows,
                    out,
                    out,
                    preference,
                    ALGORITHMS as i32,
                    results.as_mut_ptr(),
                    &raw mut count,
                )
                .result()
                .map(|()| count as usize)
            })
        };
        // SAFETY: made by the library, given back once.
        let _ = unsafe { result::destroy_matmul_pref(preference) };
        let found = &results[..found.map_err(failed)?.min(ALGORITHMS)];
        let there = found.iter().filter(|result| result.state.result().is_ok());
        Ok(there.map(|result| result.algo).collect())
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by the library, given back once; those that were never made are null.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in [self.weight, self.rows, self.out] {
                if !layout.is_null() {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
        }
    }
}
