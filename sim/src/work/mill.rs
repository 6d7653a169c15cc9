//! What multiplies, and what knows what has to come of it.

use std::collections::HashMap;
use std::sync::Arc;

use num_bigint::BigUint;
use ringleader_shared::factorial::message::Number;

/// The product of some numbers.
pub fn multiply(operands: &[Number]) -> Number {
    let product: BigUint = operands.iter().map(read).product();
    Number::new(&product.to_str_radix(16)).expect("num-bigint writes lower case, without zeros before")
}

/// A number as decimal text.
pub fn decimal(number: &Number) -> Arc<str> {
    read(number).to_str_radix(10).into()
}

fn read(number: &Number) -> BigUint {
    BigUint::parse_bytes(number.as_str().as_bytes(), 16).expect("a number is hexadecimal")
}

/// Factorials by one loop, each computed once.
#[derive(Debug, Default)]
pub struct Expected(HashMap<u32, Arc<str>>);

impl Expected {
    /// n!, as decimal text.
    pub fn factorial(&mut self, n: u32) -> Arc<str> {
        let by_loop = || (1..=n).fold(BigUint::from(1u32), |product, factor| product * factor).to_str_radix(10).into();
        self.0.entry(n).or_insert_with(by_loop).clone()
    }
}
